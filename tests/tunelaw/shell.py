"""Running the command line in processes of its own, as a user does."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "specs" / "tiny.yaml"
SMALLEST = Path(__file__).parent / "smallest.yaml"
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


# The jobs here are so short that compiling them well takes longer than running them badly.
QUICK_COMPILES = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def environment(**more):
    flags = " ".join(filter(None, [os.environ.get("XLA_FLAGS"), QUICK_COMPILES]))
    return {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": flags, **more}


def command(*arguments):
    return [sys.executable, "-m", "tunelaw", *map(str, arguments)]


def tunelaw(*arguments, cwd=None, **more):
    """Runs the command line to its end; the completed process with its outputs as text."""
    return subprocess.run(command(*arguments), cwd=cwd or ROOT, capture_output=True, text=True, env=environment(**more))


def tunelaw_without_stack(*arguments, cwd=None):
    """As `tunelaw`, but fails where the command loaded an accelerator stack."""
    code = WITHOUT_STACK.format(arguments=list(map(str, arguments)), stack=STACK)
    return subprocess.run([sys.executable, "-c", code], cwd=cwd or ROOT, capture_output=True, text=True, env=environment())


class Run:
    """One study with a store and a results folder of its own."""

    def __init__(self, spec, folder):
        self.spec, self.store, self.out = spec, folder / "store", folder / "out"

    def arguments(self):
        return ["run", self.spec, "--store", self.store, "--out", self.out]

    def to_the_end(self):
        return tunelaw(*self.arguments())

    def start(self):
        """Starts the run in the background; its messages go to a file beside the store."""
        self.messages = self.store.parent / "messages"
        with open(self.messages, "ab") as messages:
            return subprocess.Popen(command(*self.arguments()), stdout=messages, stderr=messages, cwd=ROOT, env=environment())

    def share_programs(self, other):
        """Uses the compiled programs of another run."""
        (self.store / "cache").mkdir(parents=True)
        (self.store / "cache" / "xla").symlink_to(other.store / "cache" / "xla")

    def records(self):
        """Every record of the store; each must be whole at any moment."""
        return [json.loads(path.read_text()) for path in sorted(self.store.glob("jobs/*/record.json"))]

    def rows(self, name="results.csv"):
        with open(self.out / name, newline="") as table:
            return list(csv.DictReader(table))

    def comparable(self, name="results.csv"):
        """The table without the columns that may differ from run to run."""
        return [{k: v for k, v in row.items() if k not in ("seconds", "device")} for row in self.rows(name)]
