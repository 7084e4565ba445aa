"""Compiling on a thread of its own, while the main thread traces the next program."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import jax

_QUICK_OPTIONS = {"xla_cpu_use_fusion_emitters": False}


class Compilation:
    """A function that is traced now, on the calling thread, and compiled on a thread of its own.

    Calls wait until it is ready. It takes arguments of exactly the shapes and dtypes of the examples.

    Args:
        function: Pure, on JAX arrays.
        *examples: Arguments to trace it with.
        quick: Compile on a CPU in little more than half the time. The program is as fast on small arrays, and
            a third slower on large ones. Newer versions of JAX lack this choice; it is then ignored.
    """

    def __init__(self, function: Callable[..., Any], *examples: Any, quick: bool = False):
        lowered = jax.jit(function).lower(*examples)
        self._result: Future[Callable[..., Any]] = Future()
        compiling = threading.Thread(
            target=self._compile, args=(lowered, quick), name="a3c-compile", daemon=True
        )
        compiling.start()

    def wait(self) -> Callable[..., Any]:
        """The compiled function, when it is ready."""
        return self._result.result()

    def __call__(self, *arguments: Any) -> Any:
        """Run the compiled function."""
        return self._result.result()(*arguments)

    def _compile(self, lowered: Any, quick: bool) -> None:
        try:
            self._result.set_result(_compile_quickly(lowered) if quick else lowered.compile())
        except BaseException as error:
            self._result.set_exception(error)


def _compile_quickly(lowered: Any) -> Callable[..., Any]:
    try:
        return lowered.compile(compiler_options=_QUICK_OPTIONS)
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return lowered.compile()
