"""Which examples a run sees, and in which order: pure functions of a seed and a step."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from runtime.errors import DataError

_SHARE_SLACK = 1e-9  # shares are typed decimals: 0.1 * 10 must count as 1


def permutation(n: int, seed: int, *names: int) -> np.ndarray:
    """A permutation of range(n) that depends on nothing but its arguments, int64 [n]."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *names])))
    return np.argsort(rng.random(n), kind="stable")


def share_sequence(shares: tuple[float, ...], n: int) -> np.ndarray:
    """Which source each of `n` places belongs to, int64 [n]: every beginning of it keeps the shares to within one place.

    The quota method of Balinski and Young (1975): unlike largest remainders, a longer sequence extends the shorter one.
    """
    return _share_sequence(tuple(shares), n)


@lru_cache(maxsize=64)
def _share_sequence(shares: tuple[float, ...], n: int) -> np.ndarray:
    if not shares or min(shares) < 0 or sum(shares) <= 0:
        raise DataError(f"shares {list(shares)}: they must be numbers from 0 on, at least one above 0")
    total = sum(shares)
    wanted = [share / total for share in shares]
    counts = [0] * len(wanted)
    out = np.zeros(n, np.int64)
    if len(wanted) > 1:
        for place in range(n):
            below = [i for i, w in enumerate(wanted) if counts[i] < w * (place + 1) - _SHARE_SLACK]
            best = max(below, key=lambda i: (wanted[i] / (counts[i] + 1), -i))
            counts[best] += 1
            out[place] = best
    out.setflags(write=False)
    return out


def subset(origins: np.ndarray, shares: list[float] | None, examples: int, seed: int) -> np.ndarray:
    """Indices [examples] of a seed's random subset of the rows whose sources are `origins` [n].

    Nested: a smaller subset of the same seed is the beginning of a larger one. Sources keep `shares` to within one example at every
    size (None: the shares that the rows have). Raises DataError if a source has too few rows for its share.
    """
    origins = np.asarray(origins)
    sources = int(origins.max()) + 1 if len(origins) else 1
    available = np.bincount(origins, minlength=max(sources, len(shares or []))) if len(origins) else np.zeros(sources, np.int64)
    places = share_sequence(tuple(shares) if shares else tuple(available.astype(float)) if len(origins) else (1.0,), examples)
    needed = np.bincount(places, minlength=len(available))
    if (needed > available).any():
        short = int(np.argmax(needed > available))
        raise DataError(f"{examples} examples were asked for, but the training set is too small: its source {short} gives "
                        f"{available[short]} rows and {needed[short]} are needed there; ask for fewer examples, or add data")
    out = np.empty(examples, np.int64)
    for source in range(len(available)):
        rows = np.flatnonzero(origins == source)
        here = np.flatnonzero(places == source)
        out[here] = rows[permutation(len(rows), seed, 1, source)][: len(here)]
    return out


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order of `n` examples in an epoch: a permutation, another one every epoch; int64 [n], not to be written to."""
    return _epoch_order(n, seed, epoch)


@lru_cache(maxsize=16)
def _epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    order = permutation(n, seed, 2, epoch)
    order.setflags(write=False)
    return order


def batch_indices(n: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """The examples of a step's batch, int64 [batch_size]: a pure function of (seed, step). Batches run across the ends of epochs."""
    if n < 1:
        raise DataError("no examples to train on")
    out = np.empty(batch_size, np.int64)
    start, filled = step * batch_size, 0
    while filled < batch_size:
        epoch, offset = divmod(start + filled, n)
        some = epoch_order(n, seed, epoch)[offset : offset + batch_size - filled]
        out[filled : filled + len(some)] = some
        filled += len(some)
    return out
