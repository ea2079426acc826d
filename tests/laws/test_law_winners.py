"""Common luck, the map of winners and the front of learning against forgetting, against simulation, closed forms and brute force."""

import itertools

import make_table
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import laws
from laws import common, intervals, pareto, winners
from laws.compare import Slice, compare
from laws.points import Cell, Variance


def cell(method, d, values, n=1e7, se=None, task="t", **more):
    values = np.array(values, float)
    key = (task, method, "", (1, n), (1, d), *((1, v) for v in more.values()))
    return Cell(key, task, method, "", {"n": n, "d": d, **more}, float(values.mean()), values, [str(i) for i in range(len(values))], np.arange(len(values)), se)


def cells_of(rho: dict, settings_=60, seeds=3, sd=0.01):
    """Cells whose seeds share their luck: a method's correlation with the common luck is rho[method]."""
    rng = np.random.default_rng(1)
    out = []
    for d in range(1, settings_ + 1):
        luck = rng.normal(size=seeds)
        for m, r in rho.items():
            out.append(cell(m, float(d), 2.0 + sd * (r * luck + np.sqrt(1 - r**2) * rng.normal(size=seeds)), se=sd / np.sqrt(seeds)))
    return out


def test_loadings_are_found():
    found = common.loadings(cells_of({"a": 0.95, "b": 0.8, "c": 0.3}, 300))
    assert found == {"a": pytest.approx(0.95, abs=0.1), "b": pytest.approx(0.8, abs=0.1), "c": pytest.approx(0.3, abs=0.1)}
    assert all(v < 0.2 for v in common.loadings(cells_of({"a": 0.0, "b": 0.0}, 300)).values())
    few = common.loadings(cells_of({"a": 0.95, "b": 0.95}, 1, seeds=2))
    assert few["a"] ** 2 <= 1 / 5 + 1e-9, "one pair of seeds proves little"
    assert common.loadings([cell("a", 1.0, [2.0]), cell("b", 1.0, [2.1])]) == {}


def test_luck_is_shared_at_a_setting_and_nowhere_else():
    cells = cells_of({"a": 0.9, "b": 0.7}, 100)
    cells += [cell("a", 5.0, [2.0, 2.1, 2.2], rank=8.0)]  # another adapter on the same data
    luck = common.Luck(cells, ("x",), 20_000)
    a, b = luck.loading["t", "a"], luck.loading["t", "b"]
    at = {(c.method, c.factors["d"], c.factors.get("rank")): c.key for c in cells}
    noise = luck.of([at["a", 5.0, None], at["b", 5.0, None], at["b", 6.0, None], at["a", 5.0, 8.0]])
    matrix = np.corrcoef(noise, rowvar=False)
    assert noise.std(axis=0) == pytest.approx(np.ones(4), abs=0.03)
    assert matrix[0, 1] == pytest.approx(a * b, abs=0.03) and matrix[0, 2] == pytest.approx(0, abs=0.03) and matrix[0, 3] == pytest.approx(a * a, abs=0.03)
    assert np.corrcoef(luck.of([at["a", 5.0, None]], 0.5)[:, 0], luck.of([at["b", 5.0, None]], 0.5)[:, 0])[0, 1] == pytest.approx(a * b / 4, abs=0.03)


def rows_with_luck(shared, own, seeds=3):
    rng = np.random.default_rng(11)
    rows = []
    for seed, d, (name, n) in itertools.product(range(seeds), (256, 1024, 4096, 16384), (("s", 2e4), ("m", 8e4), ("l", 3e5))):
        luck = rng.normal(0, shared)
        for m, (a, beta) in {"a": (9.0, 0.30), "b": (2.4, 0.10)}.items():
            loss = a * (n / 1e5) ** -0.1 * d**-beta + 1.0 + luck + rng.normal(0, own)
            rows.append({"task": "t", "method": m, "model_size": name, "non_embedding_parameters": n, "pretraining_tokens": 1e6, "finetuning_examples": d, "rank": "",
                         "prompt_length": "", "seed": seed, "held_out": "", "test_loss": loss, "status": "ok", "flops": 6 * n * d})  # fmt: skip
    return rows


def test_common_draws_of_fitted_laws_narrow_a_crossing():
    """The seed's subset moves both methods by .03, a method's own luck by .002: the root is surer than two separate intervals say."""
    fitted = laws.fit_table(make_table.columns(rows_with_luck(0.03, 0.002)), {"responses": ["test_loss"], "forms": ["multiplicative"], "intervals": "residual"})
    truth = (9.0 / 2.4) ** (1 / 0.2)
    ids = {e["method"]: e["id"] for e in fitted["laws"] if e["group"] == "factor"}
    gaps = {}
    for name in ("", common.PREFIX):
        one, two = (laws.predict_draws(next(e for e in fitted["laws"] if e["id"] == i), {"X": 8e4, "D": truth}, fitted.draws[name + i][:500]) for i in ids.values())
        gaps[name] = float(np.std(one - two))
        assert np.std(one) > 0.004
    assert gaps[common.PREFIX] < 0.7 * gaps[""]
    for c in fitted["crossings"]:
        if (c["source"], c["cost"], c["kind"]) == ("laws", "data", "crossing"):
            assert c["examples"]["low"] < truth < c["examples"]["high"] and c["examples"]["high"] / c["examples"]["low"] < 1.6 and c["false_root_rate"] < 0.01
    assert {c["cost"] for c in fitted["crossings"]} == {"data", "flops"} and len(fitted["map"]) == 12


class Data:
    """A response as the map takes it."""

    log = False

    def __init__(self, cells, df):
        self.cells, self.variance = cells, {"t": Variance(total=1e-4, df={"a": df})}


def place(a, b, base=None):
    return Slice("t", "test_loss", "n", 1e7, "s", {"a": {1.0: a}, "b": {1.0: b}}, base)


def test_the_probability_of_leading_is_the_normal_one_with_paired_noise():
    many = cells_of({"a": 0.8, "b": 0.8}, 400)
    lam = common.loadings(many)
    one, two = cell("a", 1.0, [2.0, 2.0], se=0.01), cell("b", 1.0, [2.008, 2.008], se=0.01)
    s = place(one, two)
    entry = winners.map_of([s], Data(many, 5000), compare([s]), {}, {}, "d")[0]
    exact = stats.norm.cdf(0.008 / (0.01 * np.sqrt(2 - 2 * lam["a"] * lam["b"])))
    assert entry["lead"]["a"] == pytest.approx(exact, abs=0.02) and sum(entry["lead"].values()) == pytest.approx(1.0)
    assert entry["leader"] == "a" and set(entry["tied"]) == {"a", "b"} and entry["law_lead"] is None
    apart = winners.map_of([s], Data([], 5000), compare([s]), {}, {}, "d")[0]
    assert apart["lead"]["a"] == pytest.approx(stats.norm.cdf(0.008 / (0.01 * np.sqrt(2))), abs=0.02)
    assert apart["lead"]["a"] < entry["lead"]["a"] - 0.05


def test_the_base_counts_and_unknown_noise_gives_no_probability():
    one, two = cell("a", 1.0, [2.0, 2.0], se=0.01), cell("b", 1.0, [2.5, 2.5], se=0.01)
    base = cell("none", 0.0, [1.99])
    s = place(one, two, base)
    entry = winners.map_of([s], Data([], 5000), compare([s]), {}, {}, "d")[0]
    assert entry["lead"]["none"] == pytest.approx(stats.norm.cdf(1.0), abs=0.02) and entry["lead"]["b"] == 0 and entry["tied"] == ["a"] and entry["base"] == 1.99
    bare = place(cell("a", 1.0, [2.0]), cell("b", 1.0, [2.5]))
    assert winners.map_of([bare], Data([], 0), compare([bare]), {}, {}, "d")[0]["lead"] is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25))
def test_the_front_is_brute_force(points):
    values = np.array(points, float)
    expected = [not any((o[0] <= p[0] and o[1] <= p[1] and tuple(o) != tuple(p)) for o in points) for p in points]
    assert pareto.front(values[None])[0].tolist() == expected
    assert pareto.front(np.stack([values, values[::-1]]))[1].tolist() == expected[::-1]


def test_fronts_of_a_run_with_their_probabilities(fitted):
    every = [f for f in fitted["pareto"] if f["at"] is None]
    assert len(every) == 1 and {f["at_name"] for f in fitted["pareto"] if f["at"] is not None} == set(make_table.SIZES)
    for f in fitted["pareto"]:
        both = [(c["test_loss"]["value"], c["pretraining_loss"]["value"]) for c in f["cells"]]
        for c, (x, y) in zip(f["cells"], both):
            assert c["front"] == (not any(a <= x and b <= y and (a, b) != (x, y) for a, b in both))
            assert 0 <= c["probability"] <= 1
            if c["method"] == "none":
                assert c["forgetting"] == 0 and c["examples"] == 0
    sure = [c["probability"] for f in fitted["pareto"] for c in f["cells"] if c["front"]]
    never = [c["probability"] for f in fitted["pareto"] for c in f["cells"] if not c["front"]]
    assert np.mean(sure) > 0.7 > 0.5 > np.mean(never)


def test_seed_of_is_by_name():
    assert intervals.seed_of("a", 1).random() == intervals.seed_of("a", 1).random() != intervals.seed_of("a", 2).random()
