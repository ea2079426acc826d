"""A results table to laws.json: the schema holds, hold-outs are never used, order and request mean what they say."""

import json
from pathlib import Path

import jsonschema
import make_table
import numpy as np
import pytest

import laws

SCHEMA = json.loads((Path(laws.__file__).parent.parent / "schemas" / "laws.schema.json").read_text(encoding="utf-8"))


def test_laws_json_is_valid_and_comes_back(run, fitted):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(dict(fitted))
    assert {name for name in fitted.draws if not name.startswith("common:")} == {e["id"] for e in fitted["laws"] if not e["refused"]}
    for entry in fitted.find():
        assert fitted.draws[entry["id"]].shape == (entry["intervals"]["draws"], len(entry["parameters"]))


def test_the_schema_can_fail(fitted):
    broken = json.loads(json.dumps(fitted))
    broken["laws"][0]["refused"] = "BECAUSE"
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(broken)


def test_every_law_that_was_asked_is_there(fitted):
    seen = {(e["method"], e["response"], e["factor"], e["form"]) for e in fitted["laws"]}
    for response in ("test_loss", "pretraining_loss"):
        for method in ("full", "lora", "prompt"):
            for factor in ("non_embedding_parameters", "pretraining_tokens"):
                assert {(method, response, factor, f) for f in ("multiplicative", "additive")} <= seen
            assert (method, response, "all", "all_factors") in seen
        assert ("lora", response, "peft_parameters", "multiplicative") in seen
    assert not any(e["method"] in ("full", "none") and e["factor"] == "peft_parameters" for e in fitted["laws"])
    assert [e["symbols"] for e in fitted.find(method="lora", factor="all")][0] == {
        "N": "non_embedding_parameters", "P": "pretraining_tokens", "T": "peft_parameters", "D": "finetuning_examples",
    }  # fmt: skip


def test_other_factors_stay_at_their_default(fitted):
    entry = fitted.find(method="lora", factor="non_embedding_parameters", form="multiplicative", response="test_loss")[0]
    assert entry["points"] == 9 and entry["held_out_points"] == 3
    assert entry["levels"]["finetuning_examples"] == [256, 1024, 4096]
    entry = fitted.find(method="lora", factor="peft_parameters", form="multiplicative", response="test_loss")[0]
    assert entry["levels"]["peft_parameters"] == [rank * 48 * 40 for rank in (1, 2, 4, 8, 16)]


def numbers(result):
    return np.array([[p["value"] for p in e["parameters"].values()] for e in result["laws"]])


def test_no_hold_out_touches_a_fit_and_every_fitted_cell_does(quick):
    rows = make_table.rows()
    base = laws.fit_table(make_table.columns(rows), quick)

    def moved(select):
        return laws.fit_table(make_table.columns([{**r, "test_loss": r["test_loss"] + 0.3 * (r["seed"] == 0)} if select(r) else r for r in rows]), quick)

    held = moved(lambda r: r["held_out"])
    assert np.array_equal(numbers(base), numbers(held))
    assert [e["fit"]["delta"] for e in base["laws"]] == [e["fit"]["delta"] for e in held["laws"]]
    assert all(a["held_out_error"]["all"] != b["held_out_error"]["all"] for a, b in zip(base["laws"], held["laws"]))
    for method in ("full", "lora", "prompt"):
        fit = moved(lambda r: r["method"] == method and r["model_size"] == "xs" and r["finetuning_examples"] == 1024)  # noqa: B023
        assert not np.allclose(numbers(base)[[e["method"] == method for e in base["laws"]]], numbers(fit)[[e["method"] == method for e in base["laws"]]], rtol=1e-3)


def test_held_out_error_is_the_mean_deviation_of_each_kind(quick):
    rows = make_table.rows()
    for r in rows:
        if r["finetuning_examples"] == 16384 and r["model_size"] == "m":
            r["held_out"] = "corner"
    result = laws.fit_table(make_table.columns(rows), quick)
    entry = result["laws"][0]
    gaps = {}
    for cell in entry["cells"]:
        p = {k: v["value"] for k, v in entry["parameters"].items()}
        predicted = p["A"] * cell["non_embedding_parameters"] ** -p["alpha"] * cell["finetuning_examples"] ** -p["beta"] + p["E"]
        assert predicted == pytest.approx(cell["predicted"], rel=1e-10)
        seen = np.mean([r["test_loss"] for r in rows if r["method"] == entry["method"] and r["pretraining_tokens"] == make_table.LEVELS[-1]
                        and r["non_embedding_parameters"] == cell["non_embedding_parameters"] and r["finetuning_examples"] == cell["finetuning_examples"]])  # fmt: skip
        assert seen == pytest.approx(cell["seen"], rel=1e-12)
        gaps.setdefault(cell["held_out"], []).append(abs(predicted - seen))
    error = entry["held_out_error"]
    assert error["edge_data"] == pytest.approx(np.mean(gaps["edge_data"])) and error["corner"] == pytest.approx(np.mean(gaps["corner"]))
    assert error["all"] == pytest.approx(np.mean(gaps["edge_data"] + gaps["corner"])) and error["interior"] is None
    assert entry["fit_error"] == pytest.approx(np.mean(gaps[""]))


def test_the_order_of_rows_changes_nothing(quick):
    rows = make_table.rows()
    order = np.random.default_rng(1).permutation(len(rows))
    request = {**quick, "intervals": "auto"}
    one, two = laws.fit_table(make_table.columns(rows), request), laws.fit_table(make_table.columns([rows[i] for i in order]), request)
    assert json.dumps(one) == json.dumps(two)
    assert all(np.array_equal(one.draws[k], two.draws[k]) for k in one.draws)


def test_diverged_rows_are_left_out_and_named(quick):
    rows = make_table.rows()
    victim = next(i for i, r in enumerate(rows) if r["method"] == "full" and r["model_size"] == "xs" and r["finetuning_examples"] == 256)
    rows[victim] = {**rows[victim], "status": "diverged", "test_loss": 97.0}
    result = laws.fit_table(make_table.columns(rows), quick)
    assert any(w["id"] == "DIVERGED_CELLS" and w["rows"] == 1 for w in result["warnings"])
    cell = next(c for c in result["laws"][0]["cells"] if c["non_embedding_parameters"] == 18_552 and c["finetuning_examples"] == 256)
    assert cell["seeds"] == 1 and cell["seen"] < 5


def test_delta_is_pooled_seed_deviations_or_what_was_asked(quick):
    rows = make_table.rows()
    entry = laws.fit_table(make_table.columns(rows), quick)["laws"][0]
    groups = {}
    for r in rows:
        if r["method"] == entry["method"] and not r["held_out"]:
            groups.setdefault((r["model_size"], r["pretraining_tokens"], r["finetuning_examples"]), []).append(r["test_loss"])
    pooled = np.sqrt(sum(np.var(g, ddof=1) * (len(g) - 1) for g in groups.values()) / sum(len(g) - 1 for g in groups.values()))
    assert entry["fit"]["delta"] == pytest.approx(1.345 * pooled, rel=1e-9)
    asked = laws.fit_table(make_table.columns(rows), {**quick, "fit": {"delta": 0.02}})["laws"][0]
    assert asked["fit"]["delta"] == 0.02
    lone = laws.fit_table(make_table.columns(make_table.rows(seeds=1)), quick)["laws"][0]
    assert lone["fit"]["delta"] == 1e-3 and "NO_SEEDS" in [w["id"] for w in lone["warnings"]]


def test_paper_stages_share_beta_and_e(quick):
    request = {**quick, "factors": make_table.REQUEST["factors"], "stages": "paper"}
    result = laws.fit_table(make_table.columns(make_table.rows()), request)
    lora = {e["factor"]: e for e in result["laws"] if e["method"] == "lora" and e["group"] == "factor"}
    assert set(lora) == {"non_embedding_parameters", "pretraining_tokens", "peft_parameters"}
    assert len({e["parameters"]["beta"]["value"] for e in lora.values()}) == len({e["parameters"]["E"]["value"] for e in lora.values()}) == 1
    assert all(e["fit"]["stages"] == "paper" and e["fit"]["shared"] == ["E", "beta"] for e in lora.values())
    joint = laws.fit_table(make_table.columns(make_table.rows()), {**request, "stages": "joint", "shared_across": {"beta": ["factor"]}})
    mine = [e["parameters"] for e in joint["laws"] if e["method"] == "lora" and e["group"] == "factor"]
    assert len({p["beta"]["value"] for p in mine}) == 1 and len({p["E"]["value"] for p in mine}) == 3


def test_without_a_request_one_is_inferred():
    rows = [r for r in make_table.rows() if r["method"] in ("full", "none")]
    result = laws.fit_table(make_table.columns(rows), {"intervals": "none"})
    assert result["request"]["factors"] == ["non_embedding_parameters", "pretraining_tokens"]
    assert result["request"]["defaults"]["model_size"] == "s" and result["request"]["defaults"]["pretraining_tokens"] == make_table.LEVELS[-1]
    assert {e["response"] for e in result["laws"]} == {"test_loss", "pretraining_loss"}


def test_power_laws_stand_for_each_size(quick):
    rows = make_table.rows()
    extra = [{**r, "finetuning_examples": d, "test_loss": make_table.true_loss(r["method"], r["non_embedding_parameters"], r["pretraining_tokens"], d), "held_out": ""}
             for r in rows if r["finetuning_examples"] == 256 and r["method"] != "none" for d in (512, 2048, 8192)]  # fmt: skip
    result = laws.fit_table(make_table.columns(rows + extra), {**quick, "forms": ["power"]})
    mine = [e for e in result["laws"] if e["method"] == "full"]
    assert [e["group"] for e in mine] == ["model_size=xs", "model_size=s", "model_size=m"]
    assert all(e["expression"] == "A * D**-beta + E" and e["points"] == 6 and not e["refused"] for e in mine)


@pytest.mark.parametrize(("request_", "message"), [
    ({"stages": "both"}, "laws.stages"), ({"forms": ["rectifie"]}, "laws.forms"), ({"fit": {"delta": -1}}, "laws.fit.delta"),
    ({"fit": {"residual": "square"}}, "laws.fit.residual"), ({"responses": ["bleu"]}, "laws.responses"), ({"factors": ["depth"]}, "laws.factors"),
    ({"shared_across": {"tau": ["factor"]}}, "laws.shared_across.tau"), ({"shared_across": {"beta": ["size"]}}, "laws.shared_across.beta"),
    ({"intervals": "guess"}, "laws.intervals"), ({"form": ["power"]}, "laws.form: unknown"),
])  # fmt: skip
def test_what_cannot_be_asked_is_named(request_, message):
    with pytest.raises(laws.TableError, match=message):
        laws.fit_table(make_table.columns(make_table.rows(seeds=1)), request_)
