"""Running the command line in processes of its own, as a user does."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "specs" / "tiny.yaml"
STACK = ["jax", "jaxlib", "flax", "optax", "orbax"]

WITHOUT_STACK = """
import sys
from tunelaw.__main__ import main
arguments, stack = {arguments!r}, {stack!r}
try:
    main(arguments)
except SystemExit as end:
    if end.code:
        raise
loaded = sorted(set(stack) & set(sys.modules))
if loaded:
    sys.exit("loaded: " + ", ".join(loaded))
"""


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def command(*arguments):
    return [sys.executable, "-m", "tunelaw", *map(str, arguments)]


def tunelaw(*arguments, cwd=None, **more):
    """Runs the command line to its end; the completed process with its outputs as text."""
    return subprocess.run(command(*arguments), cwd=cwd or ROOT, capture_output=True, text=True, env=environment(**more))


def tunelaw_without_stack(*arguments, cwd=None):
    """As `tunelaw`, but fails where the command loaded an accelerator stack."""
    code = WITHOUT_STACK.format(arguments=list(map(str, arguments)), stack=STACK)
    return subprocess.run([sys.executable, "-c", code], cwd=cwd or ROOT, capture_output=True, text=True, env=environment())
