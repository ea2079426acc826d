"""The compiler on real files: the tokenizers and texts that TUNELAW_SHARED names."""

import os
from pathlib import Path

import pytest

import compiler
from compiler import files

pytestmark = pytest.mark.shared
SPECS = Path(__file__).resolve().parents[2] / "specs"


@pytest.fixture
def shared():
    return Path(os.environ["TUNELAW_SHARED"])


def test_vocabularies_of_real_tokenizers(shared):
    assert files.vocabulary(shared / "fixtures/tokenizers/sentencepiece_test_model.model") == 1000
    assert files.vocabulary(shared / "fixtures/tokenizers/pythia_20B_tokenizer.json.gz") == 50277


def test_rows_of_real_files(shared):
    folder = shared / "data/translation/en-de_tatoeba"
    lines = (folder / "test.en-de.tsv").read_bytes().count(b"\n")
    assert files.rows(folder / "test.en-de.tsv", "tsv", False) == lines and files.rows(folder / "test.en-de.tsv", "tsv", True) == lines - 1
    assert files.rows(folder / "train.en-de.tsv.gz", "tsv", False) > 100_000


def test_the_study_on_real_text_compiles(shared):
    plan = compiler.compile_plan(compiler.load_study(SPECS / "en-de.yaml", [shared / "data"]))
    assert str(shared) not in compiler.plan_text(plan)
