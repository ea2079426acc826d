"""Jobs of a kind that exists for tests only: they wait, count, fail, kill their process or stop when asked."""

import os
import signal
import time
from pathlib import Path

from runtime.records import Interrupted
from runtime.store import write_atomically


def run_fake(job, store, context):
    """Counts to identity.steps in ticks, saving its state each step; writes the count it was resumed from."""
    identity = job["identity"]
    trace = Path(job["execution"]["trace"])
    with open(trace, "a") as handle:
        handle.write(f"{job['name']}\n")
    if identity.get("die") == "always" or (identity.get("die") == "once" and not (context.resume / "died").exists()):
        (context.resume / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if identity.get("fail"):
        raise ValueError(identity["fail"])
    print("standard output of a job must not reach the pipe")
    state = context.resume / "step"
    begin = int(state.read_text()) if state.exists() else 0
    for step in range(begin, identity["steps"]):
        if context.should_stop():
            raise Interrupted
        context.progress({"step": step, "steps": identity["steps"], "loss": 1.0, "phase": "counting"})
        time.sleep(identity.get("tick", 0.0))
        write_atomically(state, str(step + 1))
    inputs = [(store.artifact(key) / "out.txt").read_text() for key in identity.get("inputs", [])]
    (context.staging / "out.txt").write_text(f"{job['name']}:{'+'.join(inputs)}")
    return {"metrics": {"dev": {"loss_sum": identity.get("loss", 1.0), "target_tokens": 1}}, "training": {"steps": identity["steps"]}, "training_seconds": 0.1, "digests": {"begin": str(begin)}}
