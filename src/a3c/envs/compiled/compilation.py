"""Compiling beside the main thread, which meanwhile traces the next program."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import jax


class Compilation:
    """A function that is traced now, on the calling thread, and compiled on a thread of its own.

    Calls wait until it is ready. It takes arguments of exactly the shapes and dtypes of the examples.

    Args:
        function: Pure, on JAX arrays.
        *examples: Arguments to trace it with.
    """

    def __init__(self, function: Callable[..., Any], *examples: Any):
        lowered = jax.jit(function).lower(*examples)
        self._result: Future[Callable[..., Any]] = Future()
        threading.Thread(target=self._compile, args=(lowered,), name="a3c-compile", daemon=True).start()

    def wait(self) -> Callable[..., Any]:
        """The compiled function, when it is ready."""
        return self._result.result()

    def __call__(self, *arguments: Any) -> Any:
        """Run the compiled function."""
        return self._result.result()(*arguments)

    def _compile(self, lowered: Any) -> None:
        try:
            self._result.set_result(lowered.compile())
        except BaseException as error:
            self._result.set_exception(error)
