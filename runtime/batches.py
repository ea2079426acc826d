"""Encoded examples as the arrays of a training step: padded to few lengths, targets picked out, chunks stacked."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np


def bucket(longest: int, limit: int) -> int:
    """The padded length for rows of at most `longest`: a quarter, half, three quarters or all of `limit`.

    Few lengths, because every one is a compilation; not only `limit`, because limits are set for the worst row.
    """
    for part in (1, 2, 3):
        length = -(-limit * part // 4)
        if longest <= length:
            return length
    return limit


def rows_to_batch(encoded: Any, rows: np.ndarray, length: int, targets: int, pad: int) -> dict[str, np.ndarray]:
    """Rows of an EncodedSet as `tokens` [N, T], `index`, `labels` and `weight` [N, M] (see runtime.training).

    `rows` [N]: indices, -1 for an empty row (all weights zero). `length` T and `targets` M must hold every row.
    """
    there = rows >= 0
    rows = np.where(there, rows, 0)
    start = encoded.offsets[rows]
    sizes = encoded.offsets[rows + 1] - start
    first = encoded.target_start[rows]
    wide = np.arange(length)
    inputs = wide[None, :] < (sizes - 1)[:, None]
    tokens = np.where(inputs, encoded.ids[np.minimum(start[:, None] + wide, len(encoded.ids) - 1)], pad)
    narrow = np.arange(targets)
    weight = (narrow[None, :] < (sizes - first)[:, None]) & there[:, None]
    index = np.where(weight, first[:, None] - 1 + narrow, 0)
    labels = np.where(weight, encoded.ids[np.minimum(start[:, None] + first[:, None] + narrow, len(encoded.ids) - 1)], pad)
    return {
        "tokens": tokens.astype(np.int32),
        "index": index.astype(np.int32),
        "labels": labels.astype(np.int32),
        "weight": weight.astype(np.float32),
    }


def longest(encoded: Any) -> tuple[int, int]:
    """The longest input (tokens less the last) and the longest target of an EncodedSet."""
    sizes = np.diff(encoded.offsets)
    return int(sizes.max()) - 1, int((sizes - encoded.target_start).max())


def stack(batch: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """Rows [K * B, ...] as a chunk [K, B, ...]."""
    return {name: value.reshape(count, -1, *value.shape[1:]) for name, value in batch.items()}


def whole_set(encoded: Any, rows_a_batch: int, pad: int, limits: tuple[int, int]) -> dict[str, np.ndarray]:
    """Every row of a set once, as stacked batches; rows that fill up the last batch weigh nothing."""
    count = len(encoded.offsets) - 1
    batches = -(-count // rows_a_batch)
    rows = np.full(batches * rows_a_batch, -1)
    rows[:count] = np.arange(count)
    length, targets = longest(encoded)
    batch = rows_to_batch(encoded, rows, bucket(length, limits[0]), bucket(targets, limits[1]), pad)
    return stack(batch, batches)


def text_batch(rows: np.ndarray) -> dict[str, Any]:
    """Packed text [..., S + 1] as a language-modelling batch: every position predicts the next."""
    labels = rows[..., 1:].astype(np.int32)
    return {"tokens": rows[..., :-1].astype(np.int32), "index": None, "labels": labels, "weight": np.ones(labels.shape, np.float32)}


def points(at: Sequence[int], every: int, steps: int) -> list[int]:
    """The steps at which a finetuning is scored, 0 and the last included."""
    return sorted({0, steps, *(s for s in at if s <= steps), *range(every, steps, every)})
