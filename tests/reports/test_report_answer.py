"""The answer in words: ties, leads, bases that nothing beats, one method, refused laws, and numbers that equal those of the files."""

import csv
import json
import statistics

import pytest
from make_folder import LEVELS, SIZES, TOKENS, base_loss, grid_rows, row, write_folder

import reports


def said(folder, task=0):
    """(lead, {topic: text}, facts) of a report's answer."""
    content = reports.build(folder)
    item = content["answers"][task]
    return item["lead"], {line["topic"]: line["text"] for line in item["lines"] + item["more"]}, item["facts"]


def below(gaps):
    """A loss function: the base minus gaps[method](examples)."""
    return lambda method, size, examples: base_loss(size, TOKENS) - gaps[method](examples)


def test_leads_from_where_the_runs_part(tmp_path):
    loss = below({"full": lambda d: 0.2 if d <= 1024 else 0.2 + 0.1 * (d // 4096), "lora": lambda d: 0.2, "prompt": lambda d: 0.2})
    lead, lines, facts = said(write_folder(tmp_path, grid_rows(loss=loss)))
    assert lead.startswith("full leads from 4,096 examples on, at every model size")
    for size in SIZES:
        parts = [part for part in facts["segments"] if part["model_size"] == size]
        assert parts[-1]["outcome"] == ["full"] and parts[-1]["first"] == 4096
    assert "full leads" in lines["xs, 18.6K parameters"]


def test_a_tie_everywhere_is_said_and_no_winner_is_invented(tmp_path):
    rows = grid_rows(loss=below(dict.fromkeys(("full", "lora", "prompt"), lambda d: 0.2)))
    for item in rows:  # the same loss for every method: a difference of exactly zero
        if item["method"] != "none":
            item["test_loss"] = base_loss(item["model_size"], TOKENS) - 0.2
    lead, lines, facts = said(write_folder(tmp_path, rows))
    assert lead.startswith("A tie everywhere: full, lora and prompt")
    assert "leads" not in lead + lines["s, 74K parameters"]
    assert all(part["outcome"] == ["full", "lora", "prompt"] for part in facts["segments"])


def test_nothing_beats_the_untouched_base(tmp_path):
    rows = grid_rows()
    for item in rows:
        item["test_loss"] = base_loss(item["model_size"], item["pretraining_tokens"])
        if item["method"] != "none":
            item["best_step"] = 0
    lead, lines, facts = said(write_folder(tmp_path, rows))
    assert lead.startswith("No method beats the untouched base")
    assert lines["m, 295K parameters"] == "At every number of examples from 256 to 16,384 no method beats the untouched base."
    assert all(part["outcome"] == ["none"] for part in facts["segments"])
    warnings = json.loads((tmp_path / "report.json").read_text())["warnings"]
    assert "WORSE_THAN_BASE" in {item["id"] for item in warnings}


def test_different_winners_at_different_sizes(tmp_path):
    gaps = {
        "xs": {"full": 0.5, "lora": 0.2, "prompt": 0.1},
        "s": {"full": 0.2, "lora": 0.5, "prompt": 0.1},
        "m": {"full": 0.3, "lora": 0.3, "prompt": 0.1},
    }
    rows = grid_rows(loss=lambda method, size, d: base_loss(size, TOKENS) - gaps[size][method])
    for item in rows:
        if item["method"] != "none" and item["pretraining_tokens"] == TOKENS and item["model_size"] == "m":
            item["test_loss"] = base_loss("m", TOKENS) - gaps["m"][item["method"]]
    lead, lines, _ = said(write_folder(tmp_path, rows))
    assert (
        lead == "full leads from 256 examples on at xs; lora leads from 256 examples on at s; no method leads at the end for m (full and lora tie)."
    )
    assert "full and lora tie, ahead of prompt" in lines["m, 295K parameters"]


def test_one_method_only(tmp_path):
    lead, lines, _ = said(write_folder(tmp_path, grid_rows(methods=("lora",))))
    assert lead.startswith("Only lora was studied, so nothing is compared")
    assert not any(f" {word}" in lines["s, 74K parameters"] for word in ("tie", "leads", "ahead"))
    names = {figure["name"] for figure in json.loads((tmp_path / "report.json").read_text())["figures"]}
    assert "differences" not in names and {"loss-by-data", "winner-map", "loss-by-adapter"} <= names


def test_only_the_base_was_scored(tmp_path):
    rows = [row("none", size, TOKENS, 0, "") for size in SIZES]
    empty = {"headline": [], "laws": [], "crossings": [], "warnings": [], "correlations": [], "request": {"data": "finetuning_examples"}}
    lead, _, facts = said(write_folder(tmp_path, rows, laws=empty))
    assert lead == "Only the untouched base was scored: there is no finetuning to compare."
    assert facts["segments"] == []


def test_one_seed_says_that_chance_is_unknown(tmp_path):
    _, lines, facts = said(write_folder(tmp_path, grid_rows(seeds=(0,))))
    assert "1 seed a cell" in lines["How sure"] and "nothing is known about chance" in lines["How sure"]
    assert all(part["lead"] is None or part["lead"]["low"] is None for part in facts["segments"])


def test_learning_rates_that_were_not_swept_are_named(tmp_path):
    _, lines, _ = said(write_folder(tmp_path / "a", trials=[]))
    assert "not swept in this study" in lines["How sure"]
    _, lines, _ = said(write_folder(tmp_path / "b"))
    assert "not swept" not in lines["How sure"]


def test_without_hold_outs_the_largest_levels_judge(tmp_path):
    _, lines, _ = said(write_folder(tmp_path, grid_rows(hold_out=None)))
    assert "No cell was held out" in lines["What the laws cannot say"]
    assert "no cell was held out. With the largest levels left out" in lines["Laws over model size and data"]


def test_a_refused_law_is_said_with_its_reason(tmp_path):
    rows = [item for item in grid_rows() if item["model_size"] != "m"]
    _, lines, _ = said(write_folder(tmp_path, rows))
    assert "refused (TOO_FEW_LEVELS: non_embedding_parameters has 2 fitted values" in lines["Laws over model size and data"]


def test_several_tasks_each_have_an_answer(tmp_path):
    loss = below({"full": lambda d: 0.2, "lora": lambda d: 0.5, "prompt": lambda d: 0.1})
    rows = grid_rows() + grid_rows(task="summaries", loss=loss)
    content = reports.build(write_folder(tmp_path, rows))
    assert [item["task"] for item in content["answers"]] == ["translation", "summaries"]
    assert content["answers"][1]["lead"].startswith("lora leads at every number of examples")
    assert {figure["task"] for figure in content["figures"]} == {"translation", "summaries"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A report of the usual grid."""
    folder = write_folder(tmp_path_factory.mktemp("plain"))
    return folder, reports.build(folder)


def test_losses_in_the_answer_are_the_means_of_results_csv(plain):
    folder, content = plain
    with open(folder / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))

    def mean(method, size, examples):
        return statistics.fmean(
            float(r["test_loss"])
            for r in rows
            if (r["method"], r["model_size"], float(r["finetuning_examples"]), float(r["pretraining_tokens"])) == (method, size, examples, TOKENS)
            and r["rank"] in ("", "4")
        )

    for part in content["answers"][0]["facts"]["segments"]:
        for method, loss in part["losses"].items():
            assert loss == pytest.approx(mean(method, part["model_size"], part["last"]), abs=1e-12)
    text = " ".join(line["text"] for line in content["answers"][0]["lines"])
    assert f"to {mean('full', 's', 16384):.3f}" in text


def test_leads_are_the_differences_of_laws_json(plain):
    folder, content = plain
    laws = json.loads((folder / "laws.json").read_text())
    checked = 0
    for part in content["answers"][0]["facts"]["segments"]:
        if not part["lead"]:
            continue
        pair = {part["outcome"][0], part["lead"]["over"]}
        item = next(
            c for c in laws["crossings"] if c["source"] == "data" and {c["first"], c["second"]} == pair and c["at_name"] == part["model_size"]
        )
        judged = next(r for r in item["differences"] if r["examples"] == part["last"])
        assert abs(part["lead"]["difference"]) == pytest.approx(abs(judged["difference"]), abs=1e-12)
        assert sorted(map(abs, (part["lead"]["low"], part["lead"]["high"]))) == pytest.approx(
            sorted(map(abs, (judged["low"], judged["high"]))), abs=1e-12
        )
        checked += 1
    assert checked >= 3


def test_verdicts_agree_with_laws_json_at_every_cell(plain):
    folder, content = plain
    laws = json.loads((folder / "laws.json").read_text())
    pairs = next(table for table in content["tables"] if table["name"] == "pairs")["rows"]
    states = {
        (c["at_name"], r["examples"], frozenset((c["first"], c["second"]))): {"first": f"{c['first']} ahead", "second": f"{c['second']} ahead"}.get(
            r["state"], "tie"
        )
        for c in laws["crossings"]
        if c["source"] == "data"
        for r in c["differences"]
    }
    assert len(pairs) == len(SIZES) * len(LEVELS) * 3
    for item in pairs:
        assert item["verdict"] == states[item["model_size"], item["examples"], frozenset(item["pair"].split(" − "))]


def test_forgetting_is_the_rise_of_pretraining_loss(plain):
    _, content = plain
    lines = {line["topic"]: line["text"] for line in content["answers"][0]["lines"]}
    facts = {(r["model_size"], r["method"], r["examples"]): r for r in content["answers"][0]["facts"]["forgetting"]}
    worst = facts["s", "full", 16384.0]
    assert worst["rise"] == pytest.approx(worst["after"] - worst["before"])
    assert f"full +{worst['rise']:.3f}" in lines["Forgetting"]


def test_headlines_repeat_the_held_out_errors_of_laws_json(plain):
    folder, content = plain
    laws = json.loads((folder / "laws.json").read_text())
    text = {line["topic"]: line["text"] for line in content["answers"][0]["lines"]}["Laws over model size and data"]
    for item in laws["headline"]:
        assert f"{item['held_out_error']:.4f}" in text
        sentence = next(part for part in text.split("\n") if part.startswith(item["method"]))
        assert ("no law is headlined" in sentence) == (item["kind"] == "baseline")


def test_a_table_made_elsewhere_is_reported(tmp_path):
    import laws

    table = tmp_path / "runs.csv"
    lines = ["params,examples,loss,method"]
    lines += [
        f"{n},{d},{3 * n**-0.1 * d**-b + 1:.6f},{m}" for m, b in (("a", 0.2), ("b", 0.05)) for n in (10**6, 10**7, 10**8) for d in (100, 1000, 10000)
    ]
    table.write_text("\n".join(lines) + "\n")
    laws.write(laws.fit_foreign(table, "X=params,D=examples", "loss", group="method", intervals="none"), tmp_path)
    lead, topics, _ = said(tmp_path)
    assert lead == "a leads at every number of examples, at every level of params."
    assert "params 1M" in topics and "Laws over params and data" in topics
