"""predict, need and best as commands: what they print, their JSON, their exit statuses, and how they read numbers."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shell import tunelaw, tunelaw_without_stack

from tunelaw import asking, errors

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "laws"))
import made_laws  # noqa: E402

import laws  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("asking")
    laws.write(made_laws.make(), path)
    return path


def test_predict_in_words_and_in_json(folder):
    done = tunelaw("predict", folder, "--at", "n=s,d=1K", "--method", "lora")
    value = made_laws.value("lora", 1e7, 1000)
    assert done.returncode == 0 and f"{value:.4f}" in done.stdout and "headlined" in done.stdout and "inside" in done.stdout and done.stderr == ""
    done = tunelaw("predict", folder / "laws.json", "--at", "n=10M", "--at", "d=50K", "--json")
    found = json.loads(done.stdout)
    assert found["factors"] == {"n": 1e7, "d": 5e4} and [a["method"] for a in found["answers"]] == ["full", "lora"]
    assert found["answers"][1]["value"] == pytest.approx(made_laws.value("lora", 1e7, 5e4)) and found["answers"][1]["outside"]["d"] == pytest.approx(5.0)


def test_predict_far_away_is_flagged(folder):
    done = tunelaw("predict", folder, "--at", "n=s,d=3M")
    assert done.returncode == 0 and "EXTRAPOLATION" in done.stdout and "300 times beyond" in done.stdout


def test_need_and_its_statuses(folder):
    done = tunelaw("need", folder, "--loss", "1.35", "--at", "n=3e7", "--method", "full", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["answers"][0]["amount"] == pytest.approx((60 * 3e7**-0.2 / 0.35) ** (1 / 0.3))
    never = tunelaw("need", folder, "--loss", "0.9", "--at", "n=s")
    assert never.returncode == 4 and "never" in never.stdout and "floor is E = 1.0000" in never.stdout
    far = tunelaw("need", folder, "--loss", "1.01", "--at", "n=s", "--method", "full")
    assert far.returncode == 4 and "too far" in far.stdout
    assert tunelaw("need", folder, "--loss", "1.01", "--at", "n=s", "--method", "full", "--extrapolate").returncode == 0
    model = tunelaw("need", folder, "--loss", "1.1", "--for", "n", "--at", "d=5000", "--method", "full")
    assert model.returncode == 0 and "219,938,493" in model.stdout


def test_best_and_its_statuses(folder):
    done = tunelaw("best", folder, "--budget", "5K examples")
    assert done.returncode == 0 and done.stdout.startswith("5,000 examples: full on m with 5,000 examples.")
    rich = json.loads(tunelaw("best", folder, "--budget", "20usd", "--price", "3usd/hour@400TFLOP/s", "--label-price", "0.002", "--json").stdout)
    assert rich["unit"] == "usd" and rich["price"] == pytest.approx(3 / 3600 / 4e14) and rich["candidates"][0]["usd"] <= 20
    kept = tunelaw("best", folder, "--budget", "20K examples", "--max-forgetting", "0.12", "--json")
    assert {r["method"] for r in json.loads(kept.stdout)["candidates"]} == {"lora"}
    nothing = tunelaw("best", folder, "--budget", "1flop")
    assert nothing.returncode == 4 and "nothing fits" in nothing.stderr and nothing.stdout == ""


@pytest.mark.parametrize("arguments, words", [
    (["predict", "LAWS"], "--at is missing"), (["predict", "LAWS", "--at", "n"], "FACTOR=VALUE"), (["predict", "LAWS", "--at", "n=1,n=2"], "twice"),
    (["predict", "LAWS", "--at", "n=1e7,x=3"], "accepted are n, d"), (["predict", "LAWS", "--at", "n=1e7,d=big"], "positive number"),
    (["predict", "LAWS", "--at", "n=s,d=1K", "--method", "adapters"], "'full', 'lora'"), (["predict", "/nowhere", "--at", "n=1"], "no such file"),
    (["need", "LAWS", "--loss", "low"], "--loss low"), (["need", "LAWS", "--loss", "-1"], "--loss -1"), (["need", "LAWS", "--loss", "1.2", "--for", "rank"], "accepted are n, d"),
    (["need", "LAWS", "--loss", "1.2", "--at", "d=5"], "cannot be given"), (["best", "LAWS", "--budget", "100"], "with its unit"), (["best", "LAWS", "--budget", "5usd"], "--price"),
    (["best", "LAWS", "--budget", "5usd", "--price", "cheap"], "2.5usd/EFLOP"), (["best", "LAWS", "--budget", "1EFLOP", "--price", "2usd/EFLOP"], "belong to a budget in usd"),
    (["best", "LAWS", "--budget", "1EFLOP", "--max-forgetting", "0"], "--max-forgetting 0"), (["best", "LAWS", "--budget", "1EFLOP", "--at", "n=5"], "was not measured"),
])  # fmt: skip
def test_bad_questions_are_a_clear_line_and_2(folder, arguments, words):
    done = tunelaw(*[folder if a == "LAWS" else a for a in arguments])
    assert done.returncode == 2 and done.stdout == "" and words in done.stderr and "Traceback" not in done.stderr


def test_no_accelerator_stack_is_imported(folder, tmp_path):
    done = tunelaw_without_stack("predict", folder, "--at", "n=s,d=1K", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@given(st.floats(0.001, 999), st.sampled_from(["", "K", "M", "B", "T", "k", "m"]))
def test_numbers_with_suffixes(value, suffix):
    assert asking.number(f"{value:.6f}{suffix}") == pytest.approx(float(f"{value:.6f}") * {"": 1, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[suffix.upper()])


@pytest.mark.parametrize("text, expected", [
    ("1e18flops", (1e18, "flops")), ("1EFLOP", (1e18, "flops")), ("2.5 PFLOPs", (2.5e15, "flops")), ("100usd", (100.0, "usd")), ("1.5Kusd", (1500.0, "usd")),
    ("5000examples", (5000.0, "examples")), ("5K labels", (5000.0, "examples")),
])  # fmt: skip
def test_budgets(text, expected):
    amount, unit = asking.budget(text)
    assert (pytest.approx(amount), unit) == expected


def test_prices():
    assert asking.price("2.5usd/EFLOP") == pytest.approx(2.5e-18) and asking.price(None) is None
    assert asking.price("3.6usd/hour@1PFLOP/s") == pytest.approx(1e-18)


@given(st.text(max_size=12))
def test_what_is_no_budget_or_price_is_an_input_error(text):
    for read in (asking.budget, asking.price):
        try:
            read(text)
        except errors.CommandError as error:
            assert error.status == errors.INPUT
