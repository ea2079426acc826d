"""Predictions from laws.json and its draws, and correlations of loss with the metrics."""

import make_table
import numpy as np
import pytest
from scipy import stats

import laws


def test_value_band_and_shapes(fitted):
    entry = fitted.find(method="full", factor="non_embedding_parameters", form="multiplicative", response="test_loss")[0]
    d = np.geomspace(256, 16384, 20)
    out = laws.predict(entry, {"finetuning_examples": d, "non_embedding_parameters": 73_968}, fitted.draws)
    p = {k: v["value"] for k, v in entry["parameters"].items()}
    np.testing.assert_allclose(out.value, p["A"] * 73_968 ** -p["alpha"] * d ** -p["beta"] + p["E"], rtol=1e-10)
    assert out.value.shape == out.low.shape == (20,) and np.all(out.low <= out.value) and np.all(out.value <= out.high)
    again = laws.predict(entry, {"D": d, "X": 73_968}, fitted.draws[entry["id"]])
    np.testing.assert_array_equal(out.high, again.high)
    grid = laws.predict(entry, {"D": d[None, :], "X": np.array([[2e4], [3e5]])})
    assert grid.value.shape == (2, 20) and grid.low is None
    assert laws.predict(entry, {"D": 1000, "X": 2e4}).value.shape == ()
    wide = laws.predict(entry, {"D": d, "X": 73_968}, fitted.draws, level=0.5)
    assert np.all(wide.high - wide.low < out.high - out.low)


def test_draws_give_the_intervals_of_the_parameters(fitted):
    """Exactly where limits are quantiles; profile limits are the likelihood's own, and the draws follow them."""
    kinds = set()
    for entry in fitted.find()[:6]:
        kind = entry["intervals"]["kind"]
        kinds.add(kind)
        for i, (name, p) in enumerate(entry["parameters"].items()):
            low, high = np.quantile(fitted.draws[entry["id"]][:, i], [0.025, 0.975])
            if kind != "profile":
                assert (low, high) == pytest.approx((p["low"], p["high"]), rel=1e-12)
            else:
                assert p["low"] <= np.median(fitted.draws[entry["id"]][:, i]) <= p["high"], name
    assert kinds


def test_errors_name_what_is_missing(fitted):
    entry = fitted.find(factor="non_embedding_parameters")[0]
    with pytest.raises(laws.LawError, match="needs non_embedding_parameters"):
        laws.predict(entry, {"finetuning_examples": 100})
    with pytest.raises(laws.LawError, match="positive number"):
        laws.predict(entry, {"D": 0, "X": 1e5})
    with pytest.raises(laws.LawError, match="refused"):
        laws.predict({**entry, "refused": "TOO_FEW_POINTS"}, {"D": 1, "X": 1})
    with pytest.raises(laws.LawError, match="no such file"):
        laws.load("/nowhere/laws.json")


def test_correlation_is_scipys(fitted):
    rows = [r for r in make_table.rows() if r["method"] == "full"]
    x, y = [r["test_loss"] for r in rows], [r["test.bleu"] for r in rows]
    found = next(c for c in fitted["correlations"] if c["method"] == "full" and c["metric"] == "test.bleu")
    assert found["pearson"]["r"] == pytest.approx(stats.pearsonr(x, y).statistic) and found["pearson"]["p"] == pytest.approx(stats.pearsonr(x, y).pvalue)
    assert found["spearman"]["r"] == pytest.approx(stats.spearmanr(x, y).statistic) and found["rows"] == len(rows)
    assert {c["metric"] for c in fitted["correlations"]} == {"test.bleu", "test.chrf"} and {c["method"] for c in fitted["correlations"]} == {"full", "lora", "prompt", "all"}


def test_correlation_of_constant_or_few_rows_is_null():
    rows = [dict(r, **{"test.bleu": 3.0}) for r in make_table.rows()]
    found = next(c for c in laws.correlation(make_table.columns(rows)) if c["metric"] == "test.bleu")
    assert found["pearson"] is None and found["spearman"] is None
