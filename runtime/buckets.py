"""Rows of ragged lengths cut into batches of few fixed shapes, so that a set of any size compiles almost nothing."""

from __future__ import annotations

from typing import Iterator, Sequence

ONE_SHAPE = 65_536  # a set of fewer padded tokens is not worth a second compilation
ROWS = 8  # a batch's rows are a multiple of this


def bucket(longest: int, limit: int) -> int:
    """The padded length for rows of at most `longest`: a quarter, half, three quarters or all of `limit`, or more if need be."""
    for part in (1, 2, 3):
        length = -(-limit * part // 4)
        if longest <= length:
            return length
    return max(limit, longest)


def cut(lengths: Sequence[int], limit: int, batch_tokens: int = 4096, rows_multiple: int = ROWS) -> Iterator[tuple[list[int], int, int]]:
    """Rows sorted by length, longest first, in batches: yields (row numbers, T, B) with at most B rows of at most T.

    Depends on the lengths only. A small set gets one shape, a large one at most four; a batch that is not full keeps
    its shape and is filled up by the caller. `limit` is the length no row should exceed.
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    first = 0
    small = bool(order) and len(order) * bucket(lengths[order[0]], limit) <= ONE_SHAPE
    while first < len(order):
        T = bucket(lengths[order[0 if small else first]], limit)
        B = max(rows_multiple, batch_tokens // T // rows_multiple * rows_multiple)
        yield order[first : first + B], T, B
        first += B
