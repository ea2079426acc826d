"""The arrows of the house: which room imports which, where JAX may stand, and how long a file may be."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ["schemas", "specs", "compiler", "runtime", "laws", "reports", "tunelaw"]
STACK = {"jax", "jaxlib", "flax", "optax", "orbax", "torch"}  # an accelerator stack
ALLOWED = {
    "schemas": set(),
    "specs": set(),
    "compiler": {"schemas"},
    "laws": {"schemas"},
    "runtime": {"schemas", "compiler"},
    "reports": {"schemas", "laws"},
    "tunelaw": {"schemas", "specs", "compiler", "runtime", "laws", "reports"},
}
LONGEST = 500


def sources(folder):
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def imported(tree):
    """Top-level names that a module imports, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module" and node.args:
            if isinstance(node.args[0], ast.Constant):
                yield node.args[0].value.split(".")[0]


def forbidden(room, source):
    """The imports of a module's text that its room may not have."""
    names = set(imported(ast.parse(source)))
    rooms = (names & set(ROOMS)) - {room} - ALLOWED[room]
    return rooms | (set() if room == "runtime" else names & STACK)


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_only_what_its_arrows_allow(room):
    for path in sources(room):
        found = forbidden(room, path.read_text(encoding="utf-8"))
        assert not found, f"{path.relative_to(ROOT)} imports {', '.join(sorted(found))}"


@pytest.mark.parametrize("room,text", [
    ("compiler", "import jax.numpy as jnp"), ("compiler", "from runtime import store"), ("laws", "def f():\n    from reports import page"),
    ("runtime", "import laws"), ("tunelaw", "import jax"), ("reports", "import importlib\nimportlib.import_module('runtime.store')"),
])  # fmt: skip
def test_the_test_of_arrows_can_fail(room, text):
    assert forbidden(room, text)


@pytest.mark.parametrize("folder", [*ROOMS, "tests", "benchmarks"])
def test_no_file_is_too_long(folder):
    for path in sources(folder):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= LONGEST, f"{path.relative_to(ROOT)} has {lines} lines; the limit is {LONGEST}"


@pytest.mark.parametrize("folder", [*ROOMS, "tests", "benchmarks"])
def test_every_file_says_what_it_is_for(folder):
    for path in sources(folder):
        text = path.read_text(encoding="utf-8")
        assert not text.strip() or ast.get_docstring(ast.parse(text)), f"{path.relative_to(ROOT)} begins without a sentence on what it is for"


def test_every_room_but_runtime_loads_without_an_accelerator_stack():
    code = (
        "import sys, pkgutil, importlib\n"
        f"for room in {[room for room in ROOMS if room != 'runtime']!r}:\n"
        "    package = importlib.import_module(room)\n"
        "    for module in pkgutil.walk_packages(package.__path__, room + '.'):\n"
        "        if not module.name.endswith('__main__'):\n"
        "            importlib.import_module(module.name)\n"
        f"loaded = {STACK!r} & set(sys.modules)\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
