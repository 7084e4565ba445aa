"""Imports point downward, frameworks stay behind their seam, and the package imports no Keras early."""

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path

from a3c.config import Config

SOURCE = Path(__file__).parent.parent / "src" / "a3c"

# From the bottom up. A module may import from its own layer's package and from lower layers only.
LAYERS = [
    ["errors", "types", "tree", "seeding", "imports", "interrupts", "output"],
    ["config", "spaces", "sampling"],
    ["returns", "distributions", "normalisation"],
    ["inputs"],
    ["losses", "models"],
    ["flat"],
    ["reuse"],
    ["backend"],
    ["dense"],
    ["envs"],
    ["store"],
    ["algorithms", "evaluate", "metrics", "plotting", "reproduce", "runs", "scaling"],
    ["worker", "judge", "model_file", "checkpoint", "display", "play"],
    ["engines", "recorder"],
    ["setup", "resumption"],
    ["train"],
    ["agent"],
    ["doctor"],
    ["cli"],
    ["__main__"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FRAMEWORKS = {"jax", "tensorflow", "torch"}
WITHOUT_KERAS = [
    "errors",
    "types",
    "seeding",
    "config",
    "sampling",
    "spaces",
    "distributions",
    "reproduce",
    "runs",
    "metrics",
    "plotting",
    "scaling",
    "evaluate",
    "cli",
]


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


def test_every_setting_is_read_somewhere():
    """And does not only stand in the help."""
    trees = [tree for _, name, tree in modules() if name != "config"]
    read = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {field.name for field in dataclasses.fields(Config)} - read == set()


def test_only_the_backend_imports_a_framework():
    for path, name, tree in modules():
        found = {target.split(".")[0] for target in imported(tree)} & FRAMEWORKS
        # Compiled environments are JAX programs, whatever the backend.
        allowed = name == "backend" or (path.parent.name == "compiled" and found == {"jax"})
        assert not found or allowed, f"{path} imports {found}"


def test_no_keras_where_none_is_needed():
    for path, name, tree in modules():
        if name in WITHOUT_KERAS:
            assert not any(t.split(".")[0] == "keras" for t in imported(tree, top_level_only=True)), path


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import a3c, sys; print([m for m in ('keras', 'jax', 'tensorflow', 'gymnasium') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_file_says_what_it_is_for():
    for path, _, tree in modules():
        assert ast.get_docstring(tree), path


def test_the_worker_cycle_fits_on_a_screen():
    assert len((SOURCE / "worker.py").read_text().splitlines()) < 45


def test_functions_fit_on_a_screen():
    for path, _, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or 0) - node.lineno
                assert length <= 60, f"{path.name}:{node.name} has {length} lines"
