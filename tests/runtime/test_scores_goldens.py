"""The scores against goldens made with the libraries and by ROUGE-1.5.5, on thousands of lines."""

import csv
import gzip
import json
import os
from pathlib import Path

import pytest

from runtime.scores import score

pytestmark = pytest.mark.shared
FIXTURES = Path(os.environ.get("TUNELAW_SHARED", "")) / "fixtures"
ROUGES = {"rouge-1": "rouge1", "rouge-2": "rouge2", "rouge-l": "rougeL"}


def test_sacrebleu_wmt17_systems():
    with gzip.open(FIXTURES / "sacrebleu" / "wmt17_en_de_systems.tsv.gz", "rt", encoding="utf-8", newline="\n") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    with open(FIXTURES / "sacrebleu" / "wmt17_en_de_golden.tsv", encoding="utf-8") as file:
        goldens = list(csv.DictReader(file, delimiter="\t"))
    assert len(goldens) == len(rows[0]) - 1
    references = [[row[0]] for row in rows[1:]]
    for golden in goldens[:4]:
        column = rows[0].index(golden["system"])
        hypotheses = [row[column] for row in rows[1:]]
        assert score("bleu", hypotheses, references, "de")["score"] == pytest.approx(float(golden["bleu_13a"]), abs=1e-5)
        assert score("chrf", hypotheses, references, "de")["score"] == pytest.approx(float(golden["chrf2"]), abs=1e-5)


def test_sacrebleu_edge_cases():
    seen = 0
    for line in (FIXTURES / "sacrebleu" / "golden_cases.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        references = [list(texts) for texts in zip(*case["refs"])]
        if case["kind"] == "corpus" and case["tokenize"] in ("13a", "zh"):
            result = score("bleu", case["hyp"], references, "zh" if case["tokenize"] == "zh" else "en")
            assert result["score"] == pytest.approx(case["score"], abs=1e-9)
            seen += 1
        elif case["kind"] == "chrf":
            assert score("chrf", case["hyp"], references)["score"] == pytest.approx(case["chrf2"], abs=1e-9)
            seen += 1
    assert seen > 10


def test_rouge_scitldr():
    with gzip.open(FIXTURES / "rouge" / "golden_rouge_score_0.1.2.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    english = [row for row in rows if (row["prediction"] + row["target"]).isascii()]
    assert len(english) > 500
    for name, kind in ROUGES.items():
        for row in english:
            assert score(name, [row["prediction"]], [[row["target"]]])["score"] == pytest.approx(100 * row["nostem"][kind][2], abs=1e-6)
        whole = score(name, [row["prediction"] for row in english], [[row["target"]] for row in english])["score"]
        assert whole == pytest.approx(100 * sum(row["nostem"][kind][2] for row in english) / len(english), abs=1e-6)


def test_rouge_155():
    targets = (FIXTURES / "rouge" / "target.txt").read_text().splitlines()
    predictions = (FIXTURES / "rouge" / "prediction.txt").read_text().splitlines()
    names = {kind: name for name, kind in ROUGES.items()}
    cases = [case for case in json.loads((FIXTURES / "rouge" / "rouge155_expected.json").read_text()) if not case["stemmer"]]
    assert len(cases) == 6
    for case in cases:
        result = score(names[case["type"]], [predictions[case["line"]]], [[targets[case["line"]]]])
        assert result["score"] == pytest.approx(100 * case["fmeasure"], abs=2e-3)
