"""Scores of generated text against references: BLEU and chrF by sacrebleu, ROUGE by rouge-score.

`score(name, hypotheses, references, language)` is the one door; `METRICS` is the registry behind it. A metric of one's
own is a function `(hypotheses, references, language) -> (score, signature)` entered there. Every score is on the scale
0 to 100 and comes with a signature that says how it was computed, so that two scores can be known to be comparable.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Callable, Sequence

METRICS: dict[str, Callable[[Sequence[str], Sequence[Sequence[str]], str | None], tuple[float, str]]] = {}


def metric(name: str):
    """Enters the decorated function into `METRICS` under `name`."""

    def enter(function):
        METRICS[name] = function
        return function

    return enter


def score(name: str, hypotheses: Sequence[str], references: Sequence[Sequence[str]], language: str | None = None) -> dict:
    """Scores a whole set: one hypothesis an example, one or more references an example.

    Returns `{"score": float between 0 and 100, "signature": str}`. `language` (a code such as `de`, `zh`, `zh-Hans`)
    decides BLEU's tokenization and is None where unknown. Raises ValueError naming what is wrong with the input.
    """
    if name not in METRICS:
        raise ValueError(f"metric {name!r} is not known; known are {', '.join(sorted(METRICS))}")
    if len(hypotheses) != len(references):
        raise ValueError(f"{name}: {len(hypotheses)} hypotheses but references for {len(references)} examples; they must be as many")
    if not hypotheses:
        raise ValueError(f"{name}: the set is empty; a score needs one example or more")
    for row, texts in enumerate(references):
        if isinstance(texts, str) or not texts:
            raise ValueError(f"{name}: example {row} has references {texts!r}; a list of one text or more is needed")
    value, signature = METRICS[name](hypotheses, references, language)
    return {"score": float(value), "signature": signature}


def is_chinese(language: str | None) -> bool:
    """Whether a language code means Chinese: `zh`, `zho`, `cmn`, `zh-CN`, `zho_Hans`, ..."""
    return re.split(r"[-_]", (language or "").lower())[0] in ("zh", "zho", "chi", "cmn", "yue")


def _columns(references: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """References by example, turned into sacrebleu's streams; examples with fewer references are filled with None."""
    width = max(len(texts) for texts in references)
    return [[texts[i] if i < len(texts) else None for texts in references] for i in range(width)]


@metric("bleu")
def bleu(hypotheses, references, language):
    """Corpus BLEU (Papineni et al. 2002) as sacrebleu defines it; tokenization `zh` for Chinese, `13a` otherwise."""
    from sacrebleu.metrics import BLEU

    # force: the warning about tokenised text is for people who score files by hand.
    scorer = BLEU(tokenize="zh" if is_chinese(language) else "13a", force=True)
    return scorer.corpus_score(list(hypotheses), _columns(references)).score, str(scorer.get_signature())


@metric("chrf")
def chrf(hypotheses, references, language):
    """Corpus chrF2 (Popović 2015) as sacrebleu defines it: character n-grams up to 6, beta 2, no words."""
    from sacrebleu.metrics import CHRF

    scorer = CHRF()
    return scorer.corpus_score(list(hypotheses), _columns(references)).score, str(scorer.get_signature())


class WordsOfAnyScript:
    """Tokenizer for rouge-score that keeps letters and digits of every script.

    Lower case, composed (NFC), runs of letters, digits and the marks that belong to them; every Han or kana
    character is a token by itself. On ASCII text the tokens are exactly those of rouge-score's default tokenizer
    (without stemmer), which drops every letter that is not ASCII.
    """

    NAME = "any-script"
    _ALONE = re.compile(
        "[\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
        "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
    )

    def tokenize(self, text: str) -> list[str]:
        """Text to a list of tokens."""
        text = unicodedata.normalize("NFC", text).lower()
        if text.isascii():
            return re.findall("[a-z0-9]+", text)
        return "".join(self._space(c) for c in text).split()

    @staticmethod
    @functools.lru_cache(maxsize=1 << 16)
    def _space(c: str) -> str:
        if WordsOfAnyScript._ALONE.match(c):
            return f" {c} "
        return c if unicodedata.category(c)[0] in "LNM" else " "


def _rouge(kind: str, hypotheses, references) -> tuple[float, str]:
    """Mean over the examples of the best F1 over each example's references, times 100."""
    from importlib.metadata import version

    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([kind], use_stemmer=False, tokenizer=WordsOfAnyScript())
    total = sum(scorer.score_multi(list(texts), hypothesis)[kind].fmeasure for hypothesis, texts in zip(hypotheses, references))
    counts = {len(texts) for texts in references}
    references_word = str(counts.pop()) if len(counts) == 1 else "var"
    signature = f"{kind}|f1|nrefs:{references_word}|refs:max|mean:examples|stem:no|tok:{WordsOfAnyScript.NAME}|version:rouge-score-{version('rouge-score')}"
    return 100.0 * total / len(hypotheses), signature


@metric("rouge-1")
def rouge_1(hypotheses, references, language):
    """ROUGE-1 F1 (Lin 2004) by rouge-score."""
    return _rouge("rouge1", hypotheses, references)


@metric("rouge-2")
def rouge_2(hypotheses, references, language):
    """ROUGE-2 F1 (Lin 2004) by rouge-score."""
    return _rouge("rouge2", hypotheses, references)


@metric("rouge-l")
def rouge_l(hypotheses, references, language):
    """ROUGE-L F1 (Lin 2004), longest common subsequence over the whole text, by rouge-score."""
    return _rouge("rougeL", hypotheses, references)
