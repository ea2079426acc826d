"""Learning against forgetting: which (method, model, data) cells no other cell beats on both losses, and how sure that is.

A cell is on the front where none has a lower or equal loss on the task and on the base's own text with one of them lower. Its probability is
the share of draws of the seed noise in which it is on the front: pooled standard errors, the part that methods share on a subset drawn once
for all of them, the noise of the two losses taken as independent.
"""

from __future__ import annotations

import numpy as np

from laws.common import Luck

DRAWS = 1000
MOST = 200  # cells beyond which no probability is drawn
RESPONSES = ("test_loss", "pretraining_loss")


def fronts_of(gathered: dict, slices: dict[str, list]) -> list[dict]:
    """The fronts of every task: one of each level of the first factor that varies, and one of all levels together.

    `gathered`: {response: Response}, `slices`: {response: [Slice]}. An entry: {task, factor, at, at_name, cells: [{method, at, at_name,
    examples, test_loss: {value, se}, pretraining_loss: {value, se}, forgetting, front, probability}]}; at is null for all levels.
    """
    if any(r not in gathered for r in RESPONSES):
        return []
    out = []
    for task in dict.fromkeys(s.task for s in slices[RESPONSES[0]]):
        own = [s for s in slices[RESPONSES[0]] if s.task == task]
        factor = own[0].factor
        other = {s.at: s for s in slices[RESPONSES[1]] if (s.task, s.factor) == (task, factor)}
        cells = [c for s in own if s.factor == factor and s.at in other for c in _cells(s, other[s.at], gathered)]
        levels = list(dict.fromkeys(c["at"] for c in cells))
        noise = _noise(cells, gathered, task) if len(cells) <= MOST else None
        for level in levels + ([None] if len(levels) > 1 else []):
            mine = [i for i, c in enumerate(cells) if level is None or c["at"] == level]
            values = np.array([[cells[i][r]["value"] for r in RESPONSES] for i in mine])
            inside = front(values[None])[0]
            share = None if noise is None else front(values[None] + noise[:, mine]).mean(axis=0)
            shown = [
                {**{k: v for k, v in cells[i].items() if k != "keys"}, "front": bool(inside[n]), "probability": None if share is None else float(share[n])}
                for n, i in enumerate(mine)
            ]
            name = cells[mine[0]]["at_name"] if level is not None or len(levels) == 1 else ""
            out.append({"task": task, "factor": factor, "at": level, "at_name": name, "cells": shown})
    return out


def front(values_SNR: np.ndarray) -> np.ndarray:
    """[S, N]: whether a point is beaten by no other one of its draw; lower is better in every response R."""
    out = np.empty(values_SNR.shape[:2], bool)
    chunk = max(1, 1_000_000 // values_SNR.shape[1] ** 2)
    for start in range(0, len(values_SNR), chunk):
        some = values_SNR[start : start + chunk]
        one, two = some[:, :, None], some[:, None]
        beaten = np.all(two <= one, axis=3) & np.any(two < one, axis=3)
        out[start : start + chunk] = ~np.any(beaten, axis=2)
    return out


def _cells(one, two, gathered) -> list[dict]:
    """The cells of a level that have both losses, the untouched base first."""
    start = two.base.mean if two.base is not None else None
    out = []
    if one.base is not None and two.base is not None:
        out.append(_cell(one, "none", 0.0, one.base, two.base, start, gathered))
    for method in sorted(set(one.methods) & set(two.methods)):
        for d in sorted(set(one.methods[method]) & set(two.methods[method])):
            out.append(_cell(one, method, d, one.methods[method][d], two.methods[method][d], start, gathered))
    return out


def _cell(s, method, d, task_cell, base_cell, start, gathered) -> dict:
    pair = dict(zip(RESPONSES, (task_cell, base_cell)))
    losses = {}
    for response, cell in pair.items():
        unit = cell.mean if gathered[response].log else 1.0
        losses[response] = {"value": cell.mean, "se": 0.0 if method == "none" else None if cell.se is None else float(cell.se * unit)}
    return {
        "method": method, "at": s.at, "at_name": s.at_name, "examples": float(d), **losses,
        "forgetting": None if start is None else base_cell.mean - start, "keys": [c.key for c in pair.values()],
    }  # fmt: skip


def _noise(cells: list[dict], gathered, task) -> np.ndarray | None:
    """Noise [S, N, 2] of the cells' means; None where it is unknown."""
    if any(c[r]["se"] is None for c in cells for r in RESPONSES):
        return None
    out = np.zeros((DRAWS, len(cells), 2))
    for k, response in enumerate(RESPONSES):
        data = gathered[response]
        luck = Luck([c for c in data.cells if c.task == task], ("front", task, response), DRAWS)
        out[:, :, k] = luck.of([c["keys"][k] for c in cells]) * np.array([c[response]["se"] for c in cells])
    return out
