"""One fitted run folder for all tests of the laws that only read it."""

import make_table
import pytest

import laws


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run folder with results.csv, trials.csv and what `fit_table` wrote."""
    folder = make_table.save_run(tmp_path_factory.mktemp("laws") / "run")
    laws.write(laws.fit_table(folder, make_table.REQUEST), folder)
    return folder


@pytest.fixture(scope="session")
def fitted(run):
    return laws.load(run)


@pytest.fixture(scope="session")
def quick():
    """A small request: one response, one form, no draws."""
    return {**make_table.REQUEST, "responses": ["test_loss"], "factors": ["non_embedding_parameters"], "forms": ["multiplicative"], "intervals": "none"}
