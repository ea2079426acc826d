"""Writes a tokenizer as a Hugging Face folder whose AutoTokenizer gives the same ids."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from runtime.tokenizers.loading import Tokenizer, load

_SPACE = "\u2581"


def to_huggingface(tokenizer: Path | str, folder: Path | str) -> None:
    """Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json (and tokenizer.model where there is one) into `folder`.

    A text gets the begin sign by default, as the models are trained; `add_special_tokens=False` gives the ids of `Tokenizer.encode`.
    One difference is Hugging Face's own: where a text spells out a special token (`</s>`), it is read as that token there.
    """
    ours = load(tokenizer)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if ours.format == "huggingface":
        shutil.copyfile(ours.path, folder / "tokenizer.json")
        import tokenizers

        made = tokenizers.Tokenizer.from_file(str(ours.path))
        unknown = getattr(made.model, "unk_token", None)
    else:
        shutil.copyfile(ours.path, folder / "tokenizer.model")
        made, unknown = _from_sentencepiece(ours)
        made.save(str(folder / "tokenizer.json"))
    names = {"bos_token": made.id_to_token(ours.bos), "eos_token": made.id_to_token(ours.eos), "pad_token": made.id_to_token(ours.pad)}
    if unknown:
        names["unk_token"] = unknown
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False,
              "model_max_length": 1_000_000_000, "padding_side": "right", **names}
    for name, content in (("tokenizer_config.json", config), ("special_tokens_map.json", names)):
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _from_sentencepiece(ours: Tokenizer):
    """The same tokenizer in the terms of Hugging Face's library, and the name of its unknown piece."""
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
    from tokenizers import Tokenizer as Made

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(ours.path.read_bytes())
    kinds = sentencepiece_model_pb2.ModelProto.SentencePiece.Type
    pieces = [(p.piece, p.score) for p in proto.pieces]
    unknown = next(i for i, p in enumerate(proto.pieces) if p.type == kinds.UNKNOWN)
    if proto.trainer_spec.model_type == sentencepiece_model_pb2.TrainerSpec.ModelType.BPE:
        vocabulary = {piece: i for i, (piece, _) in enumerate(pieces)}
        made = Made(models.BPE(vocabulary, _merges(pieces, vocabulary), unk_token=pieces[unknown][0], fuse_unk=True,
                               byte_fallback=proto.trainer_spec.byte_fallback))
    else:
        made = Made(models.Unigram(pieces, unk_id=unknown, byte_fallback=proto.trainer_spec.byte_fallback))

    steps = []
    if proto.normalizer_spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap))
    if proto.normalizer_spec.remove_extra_whitespaces:
        # spaces only, as sentencepiece: normalizers.Strip would take line ends too
        steps += [normalizers.Replace(Regex(r"\A +| +\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    if steps:
        made.normalizer = normalizers.Sequence(steps)
    scheme = "always" if proto.normalizer_spec.add_dummy_prefix else "never"
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme=scheme)
    made.decoder = decoders.Metaspace(replacement=_SPACE, prepend_scheme=scheme)
    made.add_special_tokens([AddedToken(p.piece, special=True, normalized=False)
                             for p in proto.pieces if p.type in (kinds.UNKNOWN, kinds.CONTROL)])
    bos = pieces[ours.bos][0]
    made.post_processor = processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, ours.bos)])
    return made, pieces[unknown][0]


def _merges(pieces: list[tuple[str, float]], vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """BPE merges from sentencepiece's scores: every way to halve a piece into two others, in the order in which pieces were learned."""
    merges = []
    for piece, score in pieces:
        halves = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in vocabulary and piece[i:] in vocabulary]
        merges += [(-score, vocabulary[left], vocabulary[right], left, right) for left, right in halves]
    return [(left, right) for *_, left, right in sorted(merges)]
