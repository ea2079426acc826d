"""The scores: what they count, what their signatures say, and what they refuse."""

import random
import string

import pytest
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer

from runtime import scores
from runtime.scores import WordsOfAnyScript, score

ROUGES = {"rouge-1": "rouge1", "rouge-2": "rouge2", "rouge-l": "rougeL"}


def test_every_metric_gives_100_for_the_reference_itself_and_0_for_nothing_in_common():
    text = ["the quick brown fox jumps over it", "a second sentence with five words"]
    for name in scores.METRICS:
        assert score(name, text, [[t] for t in text])["score"] == pytest.approx(100)
        assert score(name, ["zzz qqq", "0 0"], [[t] for t in text])["score"] < 5


def test_ascii_tokens_are_the_defaults_tokens():
    default, ours, draw = DefaultTokenizer(False), WordsOfAnyScript(), random.Random(0)
    for _ in range(300):
        text = "".join(draw.choice(string.printable) for _ in range(draw.randrange(60)))
        assert ours.tokenize(text) == default.tokenize(text)


def test_german_and_chinese_letters_are_kept():
    assert WordsOfAnyScript().tokenize("Größere Bäume, übrigens!") == ["größere", "bäume", "übrigens"]
    assert WordsOfAnyScript().tokenize("我有3只猫。OK") == ["我", "有", "3", "只", "猫", "ok"]
    decomposed = "Ba\u0308ume"
    assert WordsOfAnyScript().tokenize(decomposed) == ["bäume"]
    # the library's own tokenizer cannot tell these apart from nothing at all
    default = RougeScorer(["rouge1"])
    assert default.score("我有猫", "我有猫")["rouge1"].fmeasure == 0
    assert score("rouge-1", ["我有猫"], [["我有狗"]], "zh")["score"] == pytest.approx(100 * 2 / 3)
    assert score("rouge-2", ["我有猫"], [["我有狗"]], "zh")["score"] == pytest.approx(50)


@pytest.mark.parametrize("name", ROUGES)
def test_rouge_on_english_is_the_librarys(name):
    pairs = [("The cat sat.", "A cat sat on the mat_top"), ("police kill the gunman", "the gunman kill police"), ("", "some text")]
    library = RougeScorer([ROUGES[name]])
    expected = sum(library.score(target, prediction)[ROUGES[name]].fmeasure for prediction, target in pairs) / len(pairs)
    result = score(name, [p for p, _ in pairs], [[t] for _, t in pairs])
    assert result["score"] == pytest.approx(100 * expected, abs=1e-12)


def test_rouge_takes_the_best_reference_and_says_so():
    result = score("rouge-1", ["a b c", "x y"], [["a b d", "a b c"], ["x z"]])
    assert result["score"] == pytest.approx((100 + 50) / 2)
    assert "refs:max" in result["signature"] and "nrefs:var" in result["signature"]
    assert "nrefs:1" in score("rouge-1", ["a"], [["a"]])["signature"]


def test_bleu_tokenizes_by_language():
    text, references = ["我有一只黑色的猫。"], [["我有一只白色的猫。"]]
    chinese = score("bleu", text, references, "zh-Hans")
    assert "tok:zh" in chinese["signature"] and chinese["score"] > 30
    other = score("bleu", text, references, "de")
    assert "tok:13a" in other["signature"] and other["score"] < 30
    assert "version:" in other["signature"]


def test_several_references_are_sacrebleus_own():
    from sacrebleu.metrics import BLEU, CHRF

    hypotheses = ["the cat sat on the mat", "there is a house over there"]
    references = [["a cat sat on the mat", "the cat is on the mat"], ["there is a house there", "a house is over there"]]
    streams = [[r[0] for r in references], [r[1] for r in references]]
    assert score("bleu", hypotheses, references)["score"] == BLEU().corpus_score(hypotheses, streams).score
    assert score("chrf", hypotheses, references)["score"] == CHRF().corpus_score(hypotheses, streams).score
    assert "nrefs:2" in score("bleu", hypotheses, references)["signature"]
    ragged = score("bleu", hypotheses, [references[0], references[1][:1]])
    assert "nrefs:var" in ragged["signature"] and ragged["score"] > 0


@pytest.mark.parametrize(
    "arguments, word",
    [
        (("blue", ["a"], [["a"]]), "known are"),
        (("bleu", ["a", "b"], [["a"]]), "2 hypotheses"),
        (("bleu", [], []), "empty"),
        (("chrf", ["a"], ["a"]), "example 0"),
        (("chrf", ["a"], [[]]), "example 0"),
    ],
)
def test_bad_input_is_named(arguments, word):
    with pytest.raises(ValueError, match=word):
        score(*arguments)
