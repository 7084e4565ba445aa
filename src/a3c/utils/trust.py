"""Names of modules in files: which of them may be imported.

An agent, a run, a crash report and a preset may name modules, and importing one runs its code. Such a name
is followed only where the user has typed it as well, where the module is loaded already, where the user
allows it (`--trust`), or where the file was signed: by this user, on this machine, for that very file of the
module.
"""

import contextlib
import hashlib
import hmac
import importlib.machinery
import json
import os
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path

from a3c.errors import UsageError
from a3c.utils.console import say
from a3c.utils.files import is_own, open_plain

_KEY_BYTES = 32


def check(
    file: str, names: Iterable[str | None], signatures: object, typed: Iterable[str | None], trusted: bool
) -> None:
    """Refuse a file that names a module which must not be imported; say what is imported on trust.

    Args:
        file: What it is and where, for messages: `model file x.keras`.
        names: What it names, each as `module:Name` or without a module.
        signatures: What `sign` returned when it was written, as the file has it now: of any type.
        typed: Names that the user has typed.
        trusted: Whether the user allows all of its names.

    Raises:
        UsageError: with the module, and how to allow it.
    """
    known = {*_modules(typed), *sys.modules}
    foreign = (m for m in _modules(names) if m not in known and m.partition(".")[0] != "a3c")
    unknown = [module for module in foreign if not _is_signed(module, signatures)]
    if not unknown:
        return
    listed = ", ".join(unknown)
    if not trusted:
        one = "a module" if len(unknown) == 1 else "modules"
        fix = (
            f"Importing {listed} would run its code. If you trust whoever made the file: --trust "
            "(in Python: trust=True)."
        )
        raise UsageError(f"{file}, which names {one} to import, {listed}", "a name that you typed", fix)
    for module in unknown:
        say(f"a3c: importing {module} ({_origin(module) or 'not found'}), which {file} names", sys.stderr)


def sign(*names: str | None) -> dict[str, str]:
    """Signatures for a file that has these names, so that `check` lets its writer open it.

    Returns:
        For each module its HMAC (RFC 2104) with SHA-256 in hexadecimal digits; none where the user has no
        directory for the key.
    """
    modules = _modules(names)
    try:
        return {module: _signature(module) for module in modules}
    except OSError:
        return {}


def _signature(module: str) -> str:
    message = json.dumps([module, _origin(module)]).encode()
    return hmac.digest(_key(), message, hashlib.sha256).hex()


def _is_signed(module: str, signatures: object) -> bool:
    found = signatures.get(module) if isinstance(signatures, dict) else None
    if not isinstance(found, str):
        return False
    try:
        return hmac.compare_digest(found.encode(errors="replace"), _signature(module).encode())
    except OSError:
        return False


def _modules(names: Iterable[str | None]) -> list[str]:
    """The modules of those names that have one, each once."""
    return list(dict.fromkeys(name.rpartition(":")[0] for name in names if name and ":" in name))


def _origin(module: str) -> str | None:
    """The file of a module's outermost package, as importing it would find it; nothing is imported."""
    top = module.partition(".")[0]
    if (loaded := sys.modules.get(top)) is not None:
        found = getattr(loaded, "__file__", None)
    else:
        with contextlib.suppress(OSError):
            sys.path_importer_cache.pop(os.getcwd(), None)  # it may have been written since
        spec = importlib.machinery.PathFinder.find_spec(top, [*sys.path, *_working_directory()])
        found = spec and (spec.origin or next(iter(spec.submodule_search_locations or []), None))
    return None if found is None else os.path.realpath(found)


def _working_directory() -> list[str]:
    try:
        return [os.getcwd()]
    except OSError:  # it was deleted
        return []


def _key() -> bytes:
    """This user's key, made where there is none yet.

    Raises:
        OSError: where it cannot be kept, or is not this user's.
    """
    import platformdirs

    path = platformdirs.user_state_path("a3c") / "key"
    with contextlib.suppress(FileNotFoundError):
        return _read(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".key.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return _read(path)


def _read(path: Path) -> bytes:
    with open(open_plain(path, os.O_RDONLY), "rb") as file:
        own, key = is_own(file.fileno()), file.read(_KEY_BYTES)
    if not own or len(key) < _KEY_BYTES:
        raise PermissionError(f"{path} is no key of this user")
    return key
