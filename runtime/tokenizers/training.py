"""Trains a sentencepiece tokenizer, the same bytes every time, or says how large a vocabulary the text can fill."""

from __future__ import annotations

import io
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from runtime.errors import TokenizerError

PAD, UNK, BOS, EOS = range(4)
MODELS = ("unigram", "bpe")

_MOST_CHARACTERS = 6_000_000   # more text changes a vocabulary of thousands little, and takes minutes
_LONGEST_LINE = 1_000          # characters; sentencepiece would leave out longer lines without a word
# Unigram begins with so many pieces for each that stays. From sentencepiece's own million it prunes small vocabularies badly: 3.6
# instead of 2.0 tokens a word at 512 pieces of a synthetic world, 1.68 instead of 1.67 at 4,096 of novels, in three times the time.
_SEEDS = 3
_ALPHABET = 200                # characters; the English and German novels have 132, Chinese text thousands
_SPACES = [0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000,
           0x2581]  # the last is sentencepiece's own sign for a space
_NOTHING = [*range(0x01, 0x09), *range(0x0E, 0x20), 0x7F, 0xAD, 0x200B, 0x200C, 0x200E, 0x200F, 0x2060, 0xFEFF]


def train(texts: Sequence[str], model: str, vocabulary: int, seed: int = 0) -> bytes:
    """A sentencepiece model of exactly `vocabulary` pieces (pad 0, unk 1, bos 2, eos 3), as the bytes of its file.

    Every kind of blank counts as a space, accents are composed (NFC); otherwise text stays as it is, so that Chinese punctuation
    survives. From longer corpora a random sample of lines is taken by `seed`. Raises TokenizerError for a vocabulary that the
    text cannot fill, naming the largest possible one, or that cannot hold the text's characters, naming the smallest.
    """
    if model not in MODELS:
        raise TokenizerError(f"tokenizer: model {model!r} is unknown; accepted: {', '.join(MODELS)}")
    lines = list(_sample(texts, seed))
    if not lines:
        raise TokenizerError("tokenizer: the pretraining text is empty; there is nothing to train a tokenizer on")
    characters = Counter(character for line in lines for character in line)
    # An alphabet is kept whole; of thousands of characters the rarest, 0.05 % of the text, become unknown.
    coverage = 1.0 if len(characters) <= _ALPHABET else 0.9995
    try:
        return _without_paths(_run(lines, model, vocabulary, coverage))
    except RuntimeError as error:
        raise _explained(str(error), lines, model, vocabulary, coverage) from None


def _run(lines: list[str], model: str, vocabulary: int, coverage: float) -> bytes:
    import sentencepiece

    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.tsv"
        rules.write_text(_normalisation_rules(), "utf-8")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=out, model_type=model, vocab_size=vocabulary,
            pad_id=PAD, unk_id=UNK, bos_id=BOS, eos_id=EOS, hard_vocab_limit=True, byte_fallback=False,
            character_coverage=coverage, normalization_rule_tsv=str(rules), num_threads=1, minloglevel=2,
            max_sentence_length=8 * _LONGEST_LINE, seed_sentencepiece_size=max(1000, _SEEDS * vocabulary), shuffle_input_sentence=False)
    return out.getvalue()


def _explained(message: str, lines: list[str], model: str, vocabulary: int, coverage: float) -> TokenizerError:
    asked = f"tokenizer: a {model} vocabulary of {vocabulary} cannot be made from this text"
    if found := re.search(r"Vocabulary size too high \(\d+\)\. Please set it to a value <= (\d+)", message):
        largest = _largest(lines, model, int(found[1]), coverage)
        return TokenizerError(f"{asked}: it yields {largest} pieces at most; set `vocabulary` to {largest} or less, or give more text")
    if found := re.search(r"Vocabulary size is smaller than required_chars\. (\d+) vs (\d+)", message):
        smallest = int(found[2]) + 4
        return TokenizerError(f"{asked}: its characters alone need {smallest} pieces; set `vocabulary` to more than {smallest}")
    return TokenizerError(f"{asked}: sentencepiece says {message.strip()}")


def _largest(lines: list[str], model: str, promised: int, coverage: float) -> int:
    """The largest vocabulary that really trains: what sentencepiece promises is tried, and halved towards where it does not hold."""
    low, high = 0, promised
    while low < high:
        middle = high if low == 0 and high == promised else (low + high + 1) // 2
        try:
            _run(lines, model, middle, coverage)
            low = middle
        except RuntimeError:
            high = middle - 1
    return low


def _sample(texts: Sequence[str], seed: int) -> Iterator[str]:
    """The lines to train on: all, or a random sample in the text's order, none longer than sentencepiece takes."""
    lengths = np.array([len(text) for text in texts], np.int64)
    keep = np.ones(len(texts), bool)
    if lengths.sum() > _MOST_CHARACTERS:
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0x70C])))
        order = np.argsort(rng.random(len(texts)), kind="stable")
        taken = int(np.searchsorted(np.cumsum(lengths[order]), _MOST_CHARACTERS, side="right"))
        keep[:] = False
        keep[order[: max(taken, 1)]] = True
    budget = _MOST_CHARACTERS
    for text, kept in zip(texts, keep):
        if not kept:
            continue
        # sentencepiece reads line by line itself, so a document's own line ends become spaces before it sees them
        text = " ".join(text[:budget].split())
        while len(text) > _LONGEST_LINE:
            cut = text.rfind(" ", 1, _LONGEST_LINE)
            cut = _LONGEST_LINE if cut < 0 else cut
            yield text[:cut]
            text = text[cut:].lstrip()
        if text:
            yield text


def _normalisation_rules() -> str:
    """Rules of sentencepiece (source code points, TAB, target code points): blanks to spaces, invisible characters away, NFC."""
    rules = {(blank,): (0x20,) for blank in _SPACES}
    rules |= {(invisible,): () for invisible in _NOTHING}
    for code in range(0xC0, 0x2000):  # Latin, Greek, Cyrillic and their like; larger tables would grow every model file
        composed = chr(code)
        apart = unicodedata.normalize("NFD", composed)
        if apart != composed and unicodedata.normalize("NFC", apart) == composed:
            rules[tuple(map(ord, apart))] = (code,)
    return "".join(f"{' '.join(f'{c:X}' for c in source)}\t{' '.join(f'{c:X}' for c in target)}\n" for source, target in sorted(rules.items()))


def _without_paths(model: bytes) -> bytes:
    """The model without the name of the temporary rule file, which would make every training's bytes differ."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    proto.normalizer_spec.normalization_rule_tsv = ""
    return proto.SerializeToString(deterministic=True)
