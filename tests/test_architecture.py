"""Imports point downward, frameworks stay behind their seam, and the package imports no Keras early."""

import ast
import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from a3c.config import Config

SOURCE = Path(__file__).parent.parent / "src" / "a3c"

# From the bottom up. A room is a folder or a file on top. It may import from itself and from lower ones only.
LAYERS = [
    ["errors"],
    ["utils"],
    ["types", "settings"],
    ["network_settings"],
    ["spaces"],
    ["networks"],
    ["algorithms"],
    ["config"],
    ["presets"],
    ["backend"],
    ["envs"],
    ["engines"],
    ["evaluation"],
    ["training"],
    ["agent"],
    ["cli"],
    ["__main__"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FOLDERS, ON_TOP, LONGEST_FILE = 10, 10, 350
FRAMEWORKS = {"jax", "tensorflow", "torch"}
# Imported by commands and by the processes' first moments, before Keras is, or without it.
WITHOUT_KERAS = ["errors", "types", "utils", "settings", "network_settings", "config", "presets"]
WITHOUT_KERAS += ["spaces", "algorithms", "training", "cli"]


def modules():
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        yield path, parts[0], ast.parse(path.read_text())


def imported(tree, top_level_only=False):
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_has_a_place():
    assert {name for _, name, _ in modules()} - {"__init__"} == set(LEVEL)


def test_tests_stand_in_the_rooms_of_what_they_test():
    """Beside those of the whole package on top, of faults, and reference values."""
    folders = {path.name for path in Path(__file__).parent.iterdir() if list(path.glob("test_*.py"))}
    assert folders - {"faults", "hostile"} <= set(LEVEL)


def test_the_house_is_small_enough_to_know():
    """Few rooms. No file is longer than what can be read in one go."""
    folders = [path for path in SOURCE.iterdir() if path.is_dir() and list(path.glob("*.py"))]
    assert len(folders) <= FOLDERS
    assert len(list(SOURCE.glob("*.py"))) <= ON_TOP
    lengths = {str(path.relative_to(SOURCE)): len(path.read_text().splitlines()) for path, _, _ in modules()}
    too_long = {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE}
    assert too_long == {}


def test_imports_point_downward():
    wrong = []
    for path, name, tree in modules():
        if name == "__init__":
            continue
        for target in imported(tree):
            part = target.split(".")[1] if target.startswith("a3c.") else None
            if part in LEVEL and part != name and LEVEL[part] >= LEVEL[name]:
                wrong.append(f"{path.relative_to(SOURCE)} imports {target}")
    assert wrong == []


def test_the_picture_shows_imports_that_there_are():
    """Every room is in it, and every arrow is an import of the code."""
    text = (SOURCE.parent.parent / "docs" / "architecture.md").read_text()
    arrows = re.findall(r"^    (\w+) --> (\w+)$", text[: text.index("```\n\n")], re.M)
    imports = {(name, t.split(".")[1]) for _, name, tree in modules() for t in imported(tree) if "a3c." in t}
    assert set(arrows) - imports == set()
    assert {room for arrow in arrows for room in arrow} == set(LEVEL) - {"__main__"}


def test_links_of_the_architecture_lead_somewhere():
    path = SOURCE.parent.parent / "docs" / "architecture.md"
    links = re.findall(r"\]\((\.\./[^)]+)\)", path.read_text())
    assert links
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_every_setting_is_read_somewhere():
    """And does not only stand in the help."""
    trees = [tree for _, name, tree in modules() if name != "config"]
    read = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {field.name for field in dataclasses.fields(Config)} - read == set()


def test_only_the_backend_imports_a_framework():
    for path, name, tree in modules():
        found = {target.split(".")[0] for target in imported(tree)} & FRAMEWORKS
        # Compiled environments are JAX programs, whatever the backend.
        allowed = name == "backend" or (path.parent.name == "functional" and found == {"jax"})
        assert not found or allowed, f"{path} imports {found}"


def test_no_keras_where_none_is_needed():
    for path, name, tree in modules():
        if name in WITHOUT_KERAS and path.parent.name != "checks":
            assert not any(t.split(".")[0] == "keras" for t in imported(tree, top_level_only=True)), path


@pytest.mark.parametrize("module", ["a3c", "a3c.presets", "a3c.cli.train"])
def test_importing_the_package_and_its_settings_imports_nothing_heavy(module):
    """Though each algorithm's file has its settings and its loss, which needs Keras."""
    heavy = ("numpy", "keras", "jax", "tensorflow", "gymnasium")
    code = f"import {module}, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_file_says_what_it_is_for():
    for path, _, tree in modules():
        assert ast.get_docstring(tree), path


def test_the_worker_cycle_fits_on_a_screen():
    assert len((SOURCE / "engines" / "worker.py").read_text().splitlines()) < 45


def test_the_loop_can_be_read_in_one_go():
    assert len((SOURCE / "training" / "loop.py").read_text().splitlines()) <= 150


def test_functions_fit_on_a_screen():
    for path, _, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or 0) - node.lineno
                assert length <= 50, f"{path.name}:{node.name} has {length} lines"
