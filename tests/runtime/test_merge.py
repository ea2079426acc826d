"""Adapters merged into the base: the same losses, from the base's own programs."""

import jax
import numpy as np
import pytest

import small
from runtime import methods, scoring
from runtime.mesh import make_mesh
from runtime.model import Execution
from runtime.training import Program, loss_sums

ONE = {"data": 1, "model": 1}
VARIANTS = [[name] for name in small.TARGETS] + [small.TARGETS]


@pytest.mark.parametrize("targets", VARIANTS, ids="-".join)
def test_merged_adapters_lose_what_the_adapters_lose(targets):
    method = methods.of({**small.METHODS["lora"], "targets": targets})
    weights = small.base()
    trained = small.tuned(method, weights)
    batch = jax.tree.map(lambda x: x[0], small.chunk())
    apart = loss_sums(Program(small.SHAPE, method, "{}"), weights, trained, batch)
    model = scoring.scorable(small.SHAPE, method, weights, trained, "float32", Execution(), make_mesh(ONE))
    merged = loss_sums(model.program, model.frozen, model.trained, batch)
    base = loss_sums(Program(small.SHAPE, methods.of({"name": "none"}), "{}"), weights, {}, batch)
    assert model.program.method.name == "none"
    np.testing.assert_allclose(merged[0], apart[0], rtol=2e-6)
    assert abs(float(base[0] - apart[0])) > 1e-4 * float(apart[0]), "the adapters must matter for this test to say anything"


def test_adapters_stay_apart_where_merging_would_round():
    method = methods.of(small.METHODS["lora"])
    weights = small.base()
    trained = small.tuned(method, weights)
    halved = jax.tree.map(lambda w: w.astype("bfloat16"), weights)
    for frozen, compute in ((halved, "float32"), (weights, "bfloat16")):
        model = scoring.scorable(small.SHAPE, method, frozen, trained, compute, Execution(), make_mesh(ONE))
        assert model.program.method == method and model.trained
