"""Files that are the old ones or the new ones, and never half of either."""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a text file in one step: it is the old one or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
