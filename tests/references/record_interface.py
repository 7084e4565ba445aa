"""Records what users and their scripts see: the help of `a3c train`, and the keys of what `--json` prints.

    python tests/references/record_interface.py

`tests/cli/test_cli.py` compares with it. Where a change is meant, record again, and the diff shows it.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HELP = Path(__file__).parent / "train_help.txt"
KEYS = Path(__file__).parent / "json_keys.json"


def words_of(help: str) -> list[str]:
    """What a help text says, but for what Python's versions do differently: breaks, and values of flags."""
    return re.sub(r" [A-Z]+(?=, --)", "", help).split()


def keys_of(summary: dict) -> dict[str, list[str]]:
    """The names in a result, in their order."""
    return {"summary": list(summary), "evaluation": list(summary["evaluation"])}


def main() -> None:
    """Run both commands and write."""
    with tempfile.TemporaryDirectory() as directory:

        def say(*arguments: str) -> str:
            command = [sys.executable, "-m", "a3c", "train", *arguments]
            environment = {**os.environ, "COLUMNS": "112"}
            return subprocess.run(
                command, cwd=directory, env=environment, capture_output=True, text=True, check=True
            ).stdout

        HELP.write_text(say("--help"))
        summary = json.loads(say("--max-steps", "500", "--evaluation-episodes", "2", "--json", "--quiet"))
    KEYS.write_text(json.dumps(keys_of(summary), indent=2) + "\n")


if __name__ == "__main__":
    main()
