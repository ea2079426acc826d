"""Makes the tiny finished jobs of tests/runtime importable, and keeps torch to one thread."""

import sys
from pathlib import Path

import pytest

RUNTIME = str(Path(__file__).parents[1] / "runtime")
if RUNTIME not in sys.path:
    sys.path.insert(0, RUNTIME)


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    import torch

    torch.set_num_threads(1)
