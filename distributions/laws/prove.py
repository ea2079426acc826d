"""Installs tunelaw-laws into a fresh environment and proves that it fits, asks, compares and reports there without JAX: seconds of each.

    python distributions/laws/prove.py [python]      the interpreter to build the environment with (default: this one)
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TABLE = HERE.parents[1] / "docs" / "examples" / "runs.csv"
FIT = ["fit", "runs.csv", "--factors", "N=params,D=examples", "--response", "loss", "--group", "method", "--forms", "multiplicative"]
COMMANDS = [
    ["--version"],
    [*FIT, "--out", "a"],
    [*FIT, "--out", "b", "--delta", "0.01"],
    ["predict", "a", "--at", "params=7e9,examples=50000"],
    ["need", "a", "--loss", "1.6", "--at", "params=1e9"],
    ["best", "a", "--budget", "20000examples"],
    ["diff", "a", "b"],
    ["report", "a"],
]
BARE = "import importlib.util, sys; there = [n for n in ('jax', 'jaxlib', 'flax', 'optax', 'torch') if importlib.util.find_spec(n)]; sys.exit(str(there) if there else 0)"


def timed(command: list, folder: Path) -> tuple[str, str]:
    """(seconds by the clock and of CPU, standard output) of a command; ends the program where it fails."""
    start, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"})
    if done.returncode:
        sys.exit(f"failed: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = end.ru_utime + end.ru_stime - used.ru_utime - used.ru_stime
    return f"{time.perf_counter() - start:7.2f} s, {cpu:6.2f} s CPU", done.stdout


def main(python: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(TABLE, folder)
        seconds, _ = timed([python, "-m", "venv", "environment"], folder)
        own = folder / "environment" / "bin" / "python"
        seconds, _ = timed([own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", HERE], folder)
        print(f"{seconds}  pip install {HERE.relative_to(HERE.parents[1])}")
        timed([own, "-c", BARE], folder)
        _, listed = timed([own, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"], folder)
        print(" " * 24 + " ".join(listed.split()))
        timed([own, "-c", "import scipy.optimize, tunelaw, laws"], folder)  # compiles the bytecode once
        seconds, _ = timed([own, "-c", "import laws"], folder)
        print(f"{seconds}  python -c 'import laws'")
        for words in COMMANDS:
            seconds, out = timed([folder / "environment" / "bin" / "tunelaw", *words], folder)
            print(f"{seconds}  tunelaw {' '.join(words)}")
            if not out.strip():
                sys.exit(f"tunelaw {words[0]} printed nothing")
    shutil.rmtree(HERE / "build", ignore_errors=True)
    shutil.rmtree(HERE / "tunelaw_laws.egg-info", ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else sys.executable)
