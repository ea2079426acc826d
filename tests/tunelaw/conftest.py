"""One finished run of the smallest study, shared by the tests that look at it or compare with it."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """An undisturbed run: `store`, `out`, and the `process` that made it."""
    from shell import SMALLEST, Run

    folder = tmp_path_factory.mktemp("finished")
    run = Run(SMALLEST, folder)
    done = run.to_the_end()
    assert done.returncode == 0, done.stderr
    run.process = done
    return run


@pytest.fixture
def fresh(finished, tmp_path):
    """A run of the smallest study that has not begun; it shares the compiled programs, and nothing else."""
    from shell import SMALLEST, Run

    run = Run(SMALLEST, tmp_path)
    run.share_programs(finished)
    return run
