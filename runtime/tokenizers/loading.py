"""Loads a sentencepiece model or a Hugging Face tokenizer.json behind one small interface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from runtime.errors import TokenizerError

NAMES = ("tokenizer.model", "tokenizer.json")

# What well-known tokenizer.json files call them; the first that is there counts.
_BOS = ("<s>", "<|begin_of_text|>", "<bos>", "<|startoftext|>", "[CLS]", "<|endoftext|>", "<|im_start|>")
_EOS = ("</s>", "<|end_of_text|>", "<eos>", "<|endoftext|>", "[SEP]", "<|im_end|>")
_PAD = ("<pad>", "<|padding|>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>")


class Tokenizer:
    """Text to ids and back. `vocabulary` is the number of ids; `bos`, `eos`, `pad` are ids, never added by `encode`."""

    path: Path
    format: str
    vocabulary: int
    pad: int
    bos: int
    eos: int

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, no special tokens added."""
        raise TypeError("a Tokenizer is made by load()")

    def decode(self, rows: Iterable[Sequence[int]]) -> list[str]:
        """The text of each row of ids; special tokens and padding leave nothing behind."""
        raise TypeError("a Tokenizer is made by load()")

    @cached_property
    def digest(self) -> str:
        """"sha256:<hex>" of the tokenizer's file."""
        from runtime.data.files import digest_of

        return digest_of(self.path)


class SentencePieceTokenizer(Tokenizer):
    """A sentencepiece .model."""

    format = "sentencepiece"

    def __init__(self, path: Path):
        import sentencepiece

        self.path = path
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
        except RuntimeError:
            raise TokenizerError(f"{path}: not a sentencepiece model; accepted: a .model of sentencepiece, or a tokenizer.json") from None
        self.vocabulary = self._model.vocab_size()
        self.eos = self._model.eos_id()
        if self.eos < 0:
            raise TokenizerError(f"{path}: this tokenizer has no end sign (</s>); train it with one")
        self.bos = self._model.bos_id() if self._model.bos_id() >= 0 else self.eos
        self.pad = self._model.pad_id() if self._model.pad_id() >= 0 else self.eos
        self._silent = {self.pad, self.bos, self.eos}

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return self._model.encode(list(texts), out_type=int, num_threads=1)

    def decode(self, rows: Iterable[Sequence[int]]) -> list[str]:
        return self._model.decode([[int(i) for i in row if int(i) not in self._silent] for row in rows])


class HuggingFaceTokenizer(Tokenizer):
    """A tokenizer.json of Hugging Face's `tokenizers`."""

    format = "huggingface"

    def __init__(self, path: Path):
        import tokenizers

        self.path = path
        try:
            self._model = tokenizers.Tokenizer.from_str(path.read_text("utf-8"))
        except Exception as error:  # the library raises bare Exception
            raise TokenizerError(f"{path}: not a tokenizer.json ({str(error).splitlines()[0]}); "
                                 "accepted: a .model of sentencepiece, or a tokenizer.json") from None
        self._model.no_truncation()
        self._model.no_padding()
        self.vocabulary = max(self._model.get_vocab(with_added_tokens=True).values()) + 1
        eos = self._first(_EOS)
        if eos is None:
            raise TokenizerError(f"{path}: no end sign found; one of {', '.join(_EOS)} must be in its vocabulary")
        self.eos = eos
        bos, pad = self._first(_BOS), self._first(_PAD)
        self.bos = eos if bos is None else bos
        self.pad = eos if pad is None else pad

    def _first(self, names: Sequence[str]) -> int | None:
        return next((i for name in names if (i := self._model.token_to_id(name)) is not None), None)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [e.ids for e in self._model.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, rows: Iterable[Sequence[int]]) -> list[str]:
        return self._model.decode_batch([[int(i) for i in row] for row in rows], skip_special_tokens=True)


def load(path: Path | str) -> Tokenizer:
    """The tokenizer in a file (.model or .json) or in a folder that holds tokenizer.model or tokenizer.json. Raises TokenizerError."""
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in NAMES if (path / name).is_file()]
        if not found:
            raise TokenizerError(f"{path}: no {' and no '.join(NAMES)} in this folder")
        path = found[0]
    if not path.is_file():
        raise TokenizerError(f"{path}: no such tokenizer file")
    return HuggingFaceTokenizer(path) if path.suffix == ".json" else SentencePieceTokenizer(path)
