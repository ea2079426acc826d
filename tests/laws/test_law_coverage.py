"""Intervals hold: coverage by simulation, a quick check for every run and a finer one for the slow lane."""

import numpy as np
import pytest

from laws import intervals
from laws.fitting import Law, Procedure
from laws.forms import FORMS
from laws.system import Block

FORM = FORMS["multiplicative"]
TRUE = np.array([3.9e3, 0.40, 0.15, 0.62])


def coverage(sizes, data, kind, studies, draws, sd=0.005, delta=0.0116):
    """Share of studies whose 95 % interval holds the truth: (each parameter, a prediction beyond the data)."""
    x, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e9, 8e9, sizes), np.geomspace(8e3, 1e5, data)))
    seen = FORM.value(TRUE[None], {"X": x, "D": d})[0]
    far = {"X": np.array([16e9]), "D": np.array([3e5])}
    truth = FORM.value(TRUE[None], far)[0, 0]
    rng = np.random.default_rng(2)
    hits = np.zeros(5)
    for study in range(studies):
        law = Law(Block("one", FORM, {"X": x, "D": d}), seen + rng.normal(0, sd, len(x)), np.ones(len(x)), list(range(len(x))), list(map(str, x)))
        procedure = Procedure([law], delta=delta)
        _, first, later = procedure.fit()
        values = intervals.draw(procedure, first, later, kind, np.random.default_rng(study), draws).values["one"]
        low, high = np.quantile(values, [0.025, 0.975], axis=0)
        reach = np.quantile(FORM.value(values, far)[:, 0], [0.025, 0.975])
        hits += np.append((low <= TRUE) & (TRUE <= high), reach[0] <= truth <= reach[1])
    return hits / studies


def test_small_designs_are_covered():
    share = coverage(3, 4, "residual", 200, 120)
    assert np.all(share >= 0.89) and np.all(share <= 0.995), share


def test_the_check_can_fail():
    """Intervals of half the width do not pass: the same simulation with a scale that is too small."""
    kept = intervals._scales

    def half(*args):
        return {k: (s / 2, df) for k, (s, df) in kept(*args).items()}

    intervals._scales = half
    try:
        assert coverage(3, 4, "residual", 60, 120).max() < 0.89
    finally:
        intervals._scales = kept


@pytest.mark.slow
@pytest.mark.parametrize(("sizes", "data", "kind"), [(3, 3, "residual"), (3, 4, "residual"), (4, 6, "residual"), (5, 10, "hierarchical")])
def test_coverage_of_every_design(sizes, data, kind):
    share = coverage(sizes, data, kind, 600, 400)
    assert np.all(share >= 0.92) and np.all(share <= 0.985), share
