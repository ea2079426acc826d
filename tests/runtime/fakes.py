"""Plans of fake jobs for tests of the store, the engine and the driver."""

from pathlib import Path

from compiler.identity import job_key

RUNNERS = {"finetune": "fake_jobs:run_fake"}  # the kind is a real one, so that records satisfy the schema
HERE = Path(__file__).parent


def job(name, trace, needs=(), flops=1, **identity):
    """A fake job; its key follows from its identity alone."""
    body = {"kind": "finetune", "version": 1, "label": name, "steps": 1, **identity}
    if needs:
        body["inputs"] = [need["key"] for need in needs]
    key = job_key(body)
    return {
        "name": name, "key": key, "kind": "finetune", "role": "cell", "identity": body, "needs": [n["name"] for n in needs],
        "factors": {}, "cost": {"flops": flops, "memory_bytes": 0}, "resources": {"devices": 1, "mesh": {"data": 1, "model": 1}},
        "execution": {"trace": str(trace)},
    }


def plan(*jobs):
    return {"tunelaw": 1, "study": "fake", "about": "", "jobs": list(jobs), "laws": {}, "design": {}}


def same(plan, record_of):
    """A resolver for plans without placeholders."""
    return plan
