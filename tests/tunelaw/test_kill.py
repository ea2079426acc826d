"""kill -9 at random moments: what is resumed must equal what was never disturbed."""

import os
import random
import signal
import time

import pytest
from shell import TINY, Run


def kill_and_resume(run, kills, total, seed, patience=300):
    """Kills the run `kills` times, at random counts of finished jobs and a random moment after; then lets it end."""
    random.seed(seed)
    counts = sorted(random.sample(range(total - 2), kills))
    for number, count in enumerate(counts):
        process = run.start()
        deadline = time.monotonic() + patience
        while len(run.records()) < count and process.poll() is None:
            assert time.monotonic() < deadline, run.messages.read_text()
            time.sleep(0.02)
        time.sleep(random.uniform(0.0, 0.7))
        if number % 3 == 2:  # now and then a worker dies first, as when memory runs out
            for worker in workers_of(process.pid)[:1]:
                os.kill(worker, signal.SIGKILL)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert all(record["run"]["finished"] for record in run.records())
    done = run.to_the_end()
    assert done.returncode == 0, done.stderr
    assert "not served" not in done.stderr + run.messages.read_text()
    assert not list(run.store.glob("jobs/*/staging-*")) and not list(run.store.glob("jobs/*/resume"))


def workers_of(pid):
    """Process ids of a process's children."""
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return [int(word) for word in children.read().split()]


def test_three_kills_change_nothing(finished, fresh):
    kill_and_resume(fresh, kills=3, total=len(finished.records()), seed=0)
    assert fresh.comparable() == finished.comparable()
    drop = ("seconds",)
    assert [{k: v for k, v in row.items() if k not in drop} for row in fresh.rows("trials.csv")] == [
        {k: v for k, v in row.items() if k not in drop} for row in finished.rows("trials.csv")
    ]
    assert (fresh.out / "plan.json").read_bytes() == (finished.out / "plan.json").read_bytes()


def test_the_comparison_can_fail(finished, fresh):
    import shutil

    shutil.copytree(finished.out, fresh.out)
    table = fresh.out / "results.csv"
    text = table.read_text()
    number = finished.rows()[3]["test_loss"]
    table.write_text(text.replace(number, number[:-1] + ("1" if number[-1] != "1" else "2")))
    assert fresh.comparable() != finished.comparable()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_ten_kills_of_the_tiny_study_change_nothing(tmp_path, seed):
    undisturbed, killed = Run(TINY, tmp_path / "undisturbed"), Run(TINY, tmp_path / "killed")
    (tmp_path / "undisturbed").mkdir(), (tmp_path / "killed").mkdir()
    assert undisturbed.to_the_end().returncode == 0
    killed.share_programs(undisturbed)
    kill_and_resume(killed, kills=10, total=len(undisturbed.records()), seed=seed)
    assert killed.comparable() == undisturbed.comparable()
