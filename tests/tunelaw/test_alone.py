"""tunelaw-laws: its four packages, with nothing but its own requirements importable, fit, ask, compare and report."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
from shell import ROOT

PLACE = ROOT / "distributions" / "laws" / "pyproject.toml"
ALONE = tomllib.loads(PLACE.read_text(encoding="utf-8"))
WHOLE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COLUMNS = ["--factors", "N=params,D=examples", "--response", "loss", "--group", "method"]
NEEDED_BY_THEM = {"markupsafe", "pygments", "markdown_it", "mdurl"}  # jinja2 and rich bring these

ONLY = """
import sys
allowed = set({allowed!r}) | set(sys.stdlib_module_names)

class Only:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return self.finder.find_spec(name, path, target) if name.split(".")[0] in allowed or name.startswith("_") else None
    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Only(finder) for finder in sys.meta_path if "editable" not in repr(finder).lower()]
for name in [name for name in sys.modules if name.split(".")[0] not in allowed and not name.startswith("_")]:
    del sys.modules[name]
from tunelaw.__main__ import main
main({arguments!r})
"""


def names(requirements):
    return {re.match(r"[\w-]+", text)[0]: text for text in requirements}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the packages of the distribution and the example table."""
    home = tmp_path_factory.mktemp("alone")
    for name in ALONE["tool"]["setuptools"]["packages"]:
        shutil.copytree(ROOT / name, home / "site" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "docs" / "examples" / "runs.csv", home)
    return home


def tunelaw(home, *arguments):
    allowed = {*ALONE["tool"]["setuptools"]["packages"], *names(ALONE["project"]["dependencies"]), *NEEDED_BY_THEM}
    code = ONLY.format(allowed=sorted(allowed), arguments=list(map(str, arguments)))
    environment = {**os.environ, "PYTHONPATH": str(home / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def fitted(home):
    for folder, more in (("a", []), ("b", ["--delta", "0.01"])):
        done = tunelaw(home, "fit", "runs.csv", *COLUMNS, "--forms", "multiplicative", "--draws", "200", "--out", folder, *more)
        assert done.returncode == 0, done.stderr
    return home


def test_fit_writes_laws(fitted):
    laws = json.loads((fitted / "a" / "laws.json").read_text())["laws"]
    assert {law["method"] for law in laws} == {"full", "lora"} and all(law["parameters"]["beta"]["low"] for law in laws)


@pytest.mark.parametrize("arguments,words", [
    (["diff", "a", "b"], "not told apart"),
    (["predict", "a", "--at", "params=5e8,examples=5000"], "lora"),
    (["need", "a", "--loss", "1.6", "--at", "params=1e9"], "examples"),
    (["best", "a", "--budget", "20000examples"], "full"),
    (["report", "a"], "report.html"),
    (["help", "BOUND_REACHED"], "BOUND_REACHED"),
    (["--version"], "version"),
    (["--help"], "diff"),
])  # fmt: skip
def test_what_works_without_the_rest(fitted, arguments, words):
    done = tunelaw(fitted, *arguments)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout


@pytest.mark.parametrize("arguments", [["run", "study.yaml"], ["plan", "study.yaml"], ["check", "study.yaml"], ["export", "abcd1234", "-o", "x"], ["status", "a"]])
def test_what_needs_the_rest_says_what_to_install(home, arguments):
    done = tunelaw(home, *arguments)
    assert done.returncode == 4 and "pip install ." in done.stderr and "Traceback" not in done.stderr and done.stdout == "", done


def test_parquet_without_pyarrow_says_what_to_install(home):
    (home / "runs.parquet").write_bytes(b"PAR1")
    done = tunelaw(home, "fit", "runs.parquet", *COLUMNS)
    assert done.returncode == 2 and "needs the package pyarrow" in done.stderr and "Traceback" not in done.stderr, done


def test_it_asks_for_what_the_whole_asks_for_too():
    mine, theirs = names(ALONE["project"]["dependencies"]), names(WHOLE["project"]["dependencies"])
    assert {name: theirs.get(name) for name in mine} == mine and not {"jax", "flax", "optax"} & set(mine)
    for key in ("version", "requires-python", "license"):
        assert ALONE["project"][key] == WHOLE["project"][key]
    extras = {name: text for part in ALONE["project"]["optional-dependencies"].values() for name, text in names(part).items()}
    assert extras["pyarrow"] == theirs["pyarrow"] and extras["pandas"] == WHOLE["project"]["optional-dependencies"]["pandas"][0]
    assert ALONE["tool"]["setuptools"]["package-data"] == {name: WHOLE["tool"]["setuptools"]["package-data"][name] for name in ("schemas", "reports")}
