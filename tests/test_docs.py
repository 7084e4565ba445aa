"""Links of the documentation lead somewhere, and the files and commands that it names exist."""

import re
from pathlib import Path

import pytest

from a3c.cli import COMMANDS

ROOT = Path(__file__).parent.parent
FOLDERS = ["src", "tests", "examples", "benchmarks"]
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES = [*TOP, *sorted((ROOT / "docs").glob("*.md"))]
IN_CODE = re.compile(r"`([\w./-]+\.py)(?::\w+)?`")
"""A file named in a sentence, perhaps with one of its functions."""
FILES = [f"/{path.relative_to(ROOT)}" for top in FOLDERS for path in (ROOT / top).rglob("*.py")]

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def anchors(page):
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pages
def test_links_lead_somewhere(page):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(link)
    assert broken == []


@pages
def test_files_that_are_named_exist(page):
    named = set(IN_CODE.findall(page.read_text()))
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in FILES)] == []


@pages
def test_commands_that_are_shown_exist(page):
    shown = set(re.findall(r"^    a3c ([a-z]+)\b", page.read_text(), re.M))
    assert shown - {*COMMANDS, "on"} == set()  # "a3c on jax, …" is a line of output
