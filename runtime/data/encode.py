"""Examples to tokens: `[BOS] template-part | target [EOS]`, the two parts tokenised apart, in one flat array.

Legend: n examples.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain

import numpy as np

from runtime.errors import DataError
from runtime.tokenizers import Tokenizer

TOO_LONG = ("cut_source", "drop", "error")


@dataclass(frozen=True)
class EncodedSet:
    """n encoded examples. Example i is `ids[offsets[i] : offsets[i + 1]]`, from BOS to EOS; its target, EOS included, begins at
    `target_start[i]` within it. `rows[i]` is its place in the list that was encoded (some may have been dropped).

    ids int32 [sum of lengths], offsets int64 [n + 1], target_start int64 [n], rows int64 [n].
    """

    ids: np.ndarray
    offsets: np.ndarray
    target_start: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.target_start)

    def lengths(self) -> np.ndarray:
        """Tokens of each example, BOS and EOS included, int64 [n]."""
        return np.diff(self.offsets)

    def target_tokens(self) -> np.ndarray:
        """Tokens of each target, EOS included: what the loss is summed over, int64 [n]."""
        return self.lengths() - self.target_start

    def prompt(self, i: int) -> list[int]:
        """BOS and the template part of example i: what decoding starts from."""
        return self.ids[self.offsets[i] : self.offsets[i] + self.target_start[i]].tolist()


def fill_template(template: str, source: str, language: str | None) -> str:
    """The template with {source} and {language} put in; braces of any other kind stay as they are."""
    values = {"source": source, "language": language}
    return re.sub(r"\{(source|language)\}", lambda found: values[found[1]], template)


def encode(rows: list[dict], tokenizer: Tokenizer, task: dict) -> tuple[EncodedSet, dict[str, int]]:
    """Encodes rows ({"source", "targets", "language"}; the first target counts) as `task` ({"template", "lengths"}) has it.

    `lengths` {source, target, too_long}: at most `source` tokens of the template part without BOS, and `target` tokens of the target
    without EOS. What is longer is cut (cut_source: the source's own tokens, never what the template puts around them; a target is cut
    at its end, and still ends with EOS), dropped, or an error. Returns the set and what happened: {"cut", "cut_target", "dropped"}.
    """
    template, lengths = task["template"], task["lengths"]
    if template.count("{source}") != 1:
        raise DataError(f"template {template!r}: {{source}} must stand in it once")
    if lengths["too_long"] not in TOO_LONG:
        raise DataError(f"lengths.too_long is {lengths['too_long']!r}; accepted: {', '.join(TOO_LONG)}")
    if "{language}" in template:
        for number, row in enumerate(rows, 1):
            if row.get("language") is None:
                raise DataError(f"template {template!r} uses {{language}}, but example {number} has none; give its data source a `language`")

    prompts = tokenizer.encode([fill_template(template, row["source"], row.get("language")) for row in rows])
    targets = tokenizer.encode([row["targets"][0] for row in rows])
    counts = {"cut": 0, "cut_target": 0, "dropped": 0}
    kept = []
    for i, row in enumerate(rows):
        long_prompt, long_target = len(prompts[i]) > lengths["source"], len(targets[i]) > lengths["target"]
        if long_prompt or long_target:
            if lengths["too_long"] == "error":
                part, have = ("source", prompts[i]) if long_prompt else ("target", targets[i])
                raise DataError(f"example {i + 1} has a {part} of {len(have)} tokens, lengths.{part} allows {lengths[part]} "
                                f"({row['source'][:60]!r}); raise lengths.{part}, or set lengths.too_long to cut_source or drop")
            if lengths["too_long"] == "drop":
                counts["dropped"] += 1
                continue
            if long_prompt:
                prompts[i] = _cut(prompts[i], lengths["source"], row.get("language"), tokenizer, template)
                counts["cut"] += 1
            if long_target:
                targets[i] = targets[i][: lengths["target"]]
                counts["cut_target"] += 1
        kept.append(i)
    if rows and not kept:
        raise DataError(f"all {len(rows)} examples are longer than lengths allows (source {lengths['source']}, target {lengths['target']}) "
                        "and were dropped; raise lengths.source or lengths.target")
    return _flatten([prompts[i] for i in kept], [targets[i] for i in kept], kept, tokenizer), counts


def _cut(prompt: list[int], limit: int, language: str | None, tokenizer: Tokenizer, template: str) -> list[int]:
    """The template part with as many of the source's first tokens as fit; what stands before and after the source stays whole."""
    before, after = (fill_template(part, "", language) for part in template.split("{source}"))
    head, tail = tokenizer.encode([before, after])
    room = limit - len(tail)
    if room <= len(head):
        raise DataError(f"lengths.source is {limit}, but the template {template!r} alone takes {len(head) + len(tail)} tokens; raise lengths.source")
    return prompt[:room] + tail


def _flatten(prompts: list[list[int]], targets: list[list[int]], kept: list[int], tokenizer: Tokenizer) -> EncodedSet:
    bos, eos = [tokenizer.bos], [tokenizer.eos]
    starts = np.array([1 + len(p) for p in prompts], np.int64)
    sizes = starts + np.array([1 + len(t) for t in targets], np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    flat = chain.from_iterable(chain(bos, p, t, eos) for p, t in zip(prompts, targets))
    return EncodedSet(np.fromiter(flat, np.int32, int(offsets[-1])), offsets, starts, np.array(kept, np.int64))
