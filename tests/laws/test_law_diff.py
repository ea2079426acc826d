"""Diff of laws: differences of predictions, the joint test, equivalence, shifted crossings, and refusals."""

import copy

import numpy as np
import pytest
from scipy import stats

import laws
from laws.diff import NotComparable, conditions, diff
from laws.difference import common_range, grid_of, holm, joint_test, of_predictions, pairs_of

SIZES, DATA = (1e6, 3e6, 1e7, 3e7), (100, 300, 1000, 3000, 10000, 30000)
TRUE = {"full": (20.0, 0.15, 0.20, 1.5), "lora": (9.0, 0.15, 0.12, 1.5)}


def table(seed, moved=0.0, noise=0.004, sizes=SIZES, methods=("full", "lora")):
    """Losses of two methods; `moved` is added to beta of full."""
    rng = np.random.default_rng(seed)
    columns = {"params": [], "examples": [], "method": [], "loss": []}
    for method in methods:
        a, alpha, beta, e = TRUE[method]
        for x in sizes:
            for d in DATA:
                loss = a * x**-alpha * d ** -(beta + moved * (method == "full")) + e + rng.normal(0, noise)
                for name, value in zip(columns, (x, d, method, loss)):
                    columns[name].append(value)
    return columns


def fitted(*args, forms="multiplicative", intervals="auto", **options):
    return laws.fit_foreign(table(*args, **options), {"X": "params", "D": "examples"}, "loss", group="method", forms=forms, intervals=intervals)


@pytest.fixture(scope="module")
def first():
    return fitted(1)


@pytest.fixture(scope="module")
def again():
    return fitted(2)


@pytest.fixture(scope="module")
def other():
    return fitted(3, 0.01)


def test_laws_against_themselves_are_identical(first):
    found = diff(first, first)
    assert [law["state"] for law in found["laws"]] == ["identical", "identical"] and not found["differ"]
    assert all(law["same_within"] == 0 for law in found["laws"])


def test_another_sample_of_the_same_truth_is_not_told_apart(first, again):
    found = diff(first, again)
    assert not found["differ"] and {law["state"] for law in found["laws"]} == {"not told apart"}
    for law in found["laws"]:
        assert 0 < law["same_within"] < 0.02 and law["test"]["p"] > 0.05
        assert law["difference"]["mean"]["low"] < 0 < law["difference"]["mean"]["high"]


def test_a_moved_exponent_is_found_and_only_there(first, other):
    full, lora = diff(first, other)["laws"]
    assert full["method"] == "full" and full["state"] == "different" and full["test"]["adjusted"] < 0.001
    assert full["difference"]["mean"]["high"] < 0 and full["difference"]["largest"]["high"] < 0, "a larger beta lowers the loss"
    assert full["difference"]["largest"]["at"]["params"] == pytest.approx(1e6, rel=1e-6), "where the loss above its floor is largest"
    assert lora["state"] == "not told apart"
    assert full["parameters"]["beta"]["kind"] == "difference" and full["parameters"]["A"]["kind"] == "ratio"


def test_the_difference_is_that_of_the_curves(first, other):
    one, two = first["laws"][0], other["laws"][0]
    x, d = np.meshgrid(np.geomspace(1e6, 3e7, 15), np.geomspace(100, 30000, 15), indexing="ij")
    curves = []
    for entry in (one, two):
        p = {name: v["value"] for name, v in entry["parameters"].items()}
        curves.append(p["A"] * x ** -p["alpha"] * d ** -p["beta"] + p["E"])
    gap = curves[1] - curves[0]
    found = of_predictions(one, two, common_range(one, two), first.draws["law-000"], other.draws["law-000"])
    assert found["mean"]["value"] == pytest.approx(gap.mean(), rel=1e-9)
    assert found["largest"]["value"] == pytest.approx(gap.ravel()[np.abs(gap).argmax()], rel=1e-9)
    assert found["relative"]["mean"]["value"] == pytest.approx((gap / curves[0]).mean(), rel=1e-9)
    sd = np.hypot(*[np.std(laws.predict_draws(e, {"X": x, "D": d}, source.draws).mean(axis=(1, 2))) for e, source in ((one, first), (two, other))])
    width = found["mean"]["high"] - found["mean"]["low"]
    assert width == pytest.approx(2 * 1.96 * sd, rel=0.1), "independent fits: variances add, however the draws were made"


def test_draws_of_the_same_random_numbers_do_not_cancel():
    i, j = pairs_of(1000, 1000)
    assert np.mean(i == j) < 0.01 and np.bincount(i, minlength=1000).min() == np.bincount(j, minlength=1000).max() == 4
    same = np.random.default_rng(0).normal(size=1000)
    assert np.std(same[j] - same[i]) == pytest.approx(np.sqrt(2) * np.std(same), rel=0.05)


def test_same_within_is_the_smallest_share_that_holds_the_interval(first, again):
    entry, other = first["laws"][0], again["laws"][0]
    ranges = common_range(entry, other)
    grid = grid_of(ranges)
    i, j = pairs_of(1000, 1000)
    one, two = laws.predict_draws(entry, grid, first.draws), laws.predict_draws(other, grid, again.draws)
    low, high = np.quantile((two[j] - one[i]) / one[i], [0.025, 0.975], axis=0)
    assert of_predictions(entry, other, ranges, first.draws["law-000"], again.draws["law-000"])["same_within"] == pytest.approx(max(-low.min(), high.max()), rel=1e-9)


def test_the_joint_test_is_walds(first, other):
    one, two = first["laws"][0], other["laws"][0]
    draws = [source.draws["law-000"] for source in (first, other)]
    work = lambda values: np.concatenate([np.log(values[..., :1]), values[..., 1:]], axis=-1)  # noqa: E731
    point = [work(np.array([p["value"] for p in entry["parameters"].values()])) for entry in (one, two)]
    total = sum(np.cov(work(d), rowvar=False) for d in draws)
    statistic = (point[1] - point[0]) @ np.linalg.solve(total, point[1] - point[0])
    found = joint_test(one, two, *draws)
    assert found["statistic"] == pytest.approx(statistic, rel=1e-6)
    assert found["p"] == pytest.approx(stats.chi2.sf(statistic, 4), rel=1e-6) and found["df1"] == 4


def test_without_draws_the_covariances_of_the_laws_are_used(first, other):
    one, two = first["laws"][0], other["laws"][0]
    matrices = [np.array(entry["covariance"]["matrix"]) for entry in (one, two)]
    value = lambda entry: np.array([np.log(entry["parameters"]["A"]["value"]), *(entry["parameters"][n]["value"] for n in ("alpha", "beta", "E"))])  # noqa: E731
    gap = value(two) - value(one)
    found = joint_test(one, two, None, None)
    assert found["statistic"] == pytest.approx(gap @ np.linalg.solve(sum(matrices), gap), rel=1e-6)
    assert 4 < found["df2"] <= 40, "points less parameters of both, at most"
    found = diff(laws.Laws(first), laws.Laws(other))["laws"][0]
    assert found["difference"]["mean"]["low"] is None and found["same_within"] is None and found["test"]["p"] < 0.05


def test_a_parameter_on_its_bound_is_named_and_held(first, other):
    one, two = copy.deepcopy(first["laws"][0]), copy.deepcopy(other["laws"][0])
    for entry in (one, two):
        entry["parameters"]["E"]["value"] = 0.0
        entry["covariance"]["matrix"] = [[None if 3 in (i, j) else v for j, v in enumerate(row)] for i, row in enumerate(entry["covariance"]["matrix"])]
    found = joint_test(one, two, None, None)
    assert found["left_out"] == {"E": "on its bound in both laws"} and found["parameters"] == ["A", "alpha", "beta"] and found["df1"] == 3
    assert found["on_bound"] == {"first": ["E"], "second": ["E"]}
    two["parameters"]["E"]["value"] = 0.3
    two["covariance"] = other["laws"][0]["covariance"]
    found = joint_test(one, two, None, None)
    assert "E" in found["parameters"] and found["on_bound"]["first"] == ["E"] and found["df1"] == 4


def test_a_ridge_takes_a_dimension_away(first):
    entry = first["laws"][0]
    draws = np.array(first.draws["law-000"])
    draws[:, 0] = np.exp(3 + 12 * draws[:, 1])  # A is a function of alpha
    moved = copy.deepcopy(entry)
    assert joint_test(entry, moved, draws, draws)["df1"] == 3


def test_only_common_ranges_are_compared(first):
    wide = fitted(5, sizes=(1e7, 3e7, 1e8, 3e8))
    found = diff(first, wide)["laws"][0]
    assert found["range"]["params"] == [1e7, 3e7]
    apart = fitted(6, sizes=(1e9, 3e9, 1e10, 3e10))
    found = diff(first, apart)["laws"][0]
    assert found["state"] == "no common range" and "params from 1e+06 to 3e+07 in the first" in found["reason"] and found["test"] is None


def test_laws_of_one_side_and_refused_laws_are_listed(first):
    more = fitted(7, forms="multiplicative,additive", methods=("lora",), intervals="none")
    found = diff(first, more)
    assert [law["method"] for law in found["only_first"]] == ["full"] and [law["form"] for law in found["only_second"]] == ["additive"]
    few = fitted(8, sizes=(1e6,), intervals="none")
    assert {law["state"] for law in diff(first, few)["laws"]} == {"refused"}
    assert "in the second" in diff(first, few)["laws"][0]["reason"]


def test_a_file_without_laws_is_an_error(first):
    with pytest.raises(laws.LawError, match="the second holds no law"):
        diff(first, laws.Laws({**first, "laws": []}))


def test_shared_runs_are_said(first):
    refit = laws.fit_foreign(table(1), {"X": "params", "D": "examples"}, "loss", group="method", forms="multiplicative", delta=0.01, intervals="none")
    found = diff(first, refit)
    assert found["laws"][0]["shared_cells"] == 24 and any("same cells" in note for note in found["notes"])


def test_crossings_move_with_their_interval(first, other):
    moved = [c for c in diff(first, other)["crossings"] if c["source"] == "laws" and c["shift"]]
    assert moved
    for c in moved:
        one, two = c["first"]["examples"]["value"], c["second"]["examples"]["value"]
        assert c["shift"]["value"] == pytest.approx(two / one) and c["shift"]["low"] < c["shift"]["value"] < c["shift"]["high"]
        assert c["shift"]["value"] < 1, "full learns faster in the second, so it overtakes earlier"
    exact = {x: (9 / 20) ** (1 / (0.12 - 0.21)) / (9 / 20) ** (1 / (0.12 - 0.20)) for x in SIZES}
    inside = [c["shift"]["low"] < exact[c["at"]] < c["shift"]["high"] for c in moved]
    assert all(inside), "the true ratio of the two crossings"


def test_a_crossing_of_the_runs_gets_its_interval_from_both(first):
    from laws.crossdiff import _shift

    made = lambda value, low, high: {"source": "data", "cost": "data", "examples": {"value": value, "low": low, "high": high}}  # noqa: E731
    found = _shift(first, first, made(1000, 500, 2000), made(2000, 1000, 4000))
    assert found["value"] == 2 and found["low"] == pytest.approx(2 * 2**-np.sqrt(2)) and found["high"] == pytest.approx(2 * 2 ** np.sqrt(2))
    assert _shift(first, first, made(1000, None, 2000), made(2000, 1000, 4000))["low"] is None


def with_data(source, **data):
    changed = laws.Laws(copy.deepcopy(dict(source)), draws=source.draws)
    changed["data"] = {"test_sets": {"": {"news": "sha256:" + "a" * 64}}, "tokenizer": {"tokenizer.model": "sha256:" + "b" * 64}, "digests": {}, **data}
    return changed


@pytest.mark.parametrize("data,words", [
    ({"test_sets": {"": {"news": "sha256:" + "c" * 64}}}, "test set 'news': sha256:aaaaaaaa in the first, sha256:cccccccc in the second"),
    ({"test_sets": {"": {"news": "sha256:" + "a" * 64, "web": "sha256:" + "d" * 64}}}, "only the second has web"),
    ({"tokenizer": {"tokenizer.model": "sha256:" + "e" * 64}}, "tokenizer: sha256:bbbbbbbb in the first, sha256:eeeeeeee in the second"),
])  # fmt: skip
def test_what_was_measured_on_something_else_is_refused(first, again, data, words):
    one, two = with_data(first), with_data(again, **data)
    with pytest.raises(NotComparable) as refused:
        diff(one, two)
    assert words in str(refused.value) and "--force" in str(refused.value)
    found = diff(one, two, force=True)
    assert len(found["forced"]) == 1 and words in found["forced"][0] and len(found["laws"]) == 2
    assert conditions(one, with_data(again)) == ([], [], {})


def test_other_responses_and_columns_are_refused(first):
    renamed = laws.Laws(copy.deepcopy(dict(first)), draws=first.draws)
    for entry in renamed["laws"]:
        entry["response"] = "accuracy"
    with pytest.raises(NotComparable, match="response: loss in the first, accuracy in the second"):
        diff(first, renamed)
    assert {law["state"] for law in diff(first, renamed, force=True)["laws"]} == {"identical"}
    tokens = laws.Laws(copy.deepcopy(dict(first)), draws=first.draws)
    tokens["request"]["data"] = "tokens"
    with pytest.raises(NotComparable, match="the column examples in the first, tokens in the second"):
        diff(first, tokens)


def test_unknown_provenance_is_said(first, again):
    notes = diff(first, again)["notes"]
    assert any("test sets" in note for note in notes) and any("tokenizer" in note for note in notes)


def test_another_pretraining_text_stops_only_what_is_measured_on_it(first, again):
    one, two = ({**entry, "response": "pretraining_loss"} for entry in (first["laws"][0], again["laws"][0]))
    a = with_data(first, digests={"data/pretraining_text": {"dev.jsonl": "sha256:1"}})
    b = with_data(again, digests={"data/pretraining_text": {"dev.jsonl": "sha256:2"}})
    a["laws"], b["laws"] = [one, a["laws"][1]], [two, b["laws"][1]]
    states = {law["response"]: law["state"] for law in diff(a, b)["laws"]}
    assert states == {"pretraining_loss": "not comparable", "loss": "not told apart"}


def test_holm():
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]


@pytest.mark.slow
def test_the_joint_test_holds_its_level():
    """40 pairs of the same truth, 4 x 6 cells: at most a tenth are called different at 5 %."""
    p = []
    for seed in range(40):
        one, two = (fitted(1000 + 2 * seed + k, methods=("full",)) for k in (0, 1))
        p.append(joint_test(one["laws"][0], two["laws"][0], one.draws["law-000"], two.draws["law-000"])["p"])
    assert np.mean(np.array(p) < 0.05) <= 0.1
