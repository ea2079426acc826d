"""Expands the grids of a study into cells: each once, however many grids name it, with its class if it is held out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any, Iterable

from compiler import counts
from compiler.defaults import FACTORS, METHOD_FACTOR, by_parameters
from compiler.study import Study


@dataclass(frozen=True)
class Cell:
    """One finetuned model of the design. `pretraining_tokens` as the study writes the level, not the true count."""

    task: str
    method: str
    model_size: str
    pretraining_tokens: int
    finetuning_examples: int
    rank: int | None
    prompt_length: int | None
    seed: int

    def without_seed(self) -> "Cell":
        """The cell's place in the design, the same for all its seeds."""
        return replace(self, seed=-1)


@dataclass
class Design:
    """All cells in the order of the grids; `grids` names those that ask for a cell; `held_out` its class or ''."""

    study: Study
    cells: list[Cell] = field(default_factory=list)
    grids: dict[Cell, list[str]] = field(default_factory=dict)
    held_out: dict[Cell, str] = field(default_factory=dict)

    def of(self, task: str, method: str) -> list[Cell]:
        """The cells of a task and method."""
        return [cell for cell in self.cells if cell.task == task and cell.method == method]

    def pairs(self) -> list[tuple[str, str]]:
        """(task, method) in order of appearance."""
        return list(dict.fromkeys((cell.task, cell.method) for cell in self.cells))

    def sizes(self) -> list[str]:
        """The sizes that any cell uses, smallest first."""
        used = {cell.model_size for cell in self.cells}
        return [name for name in by_parameters(self.study.resolved["models"]["sizes"]) if name in used]

    def defaults(self, method: str) -> dict[str, Any]:
        """Where each factor of a method stands in the grids that do not vary it."""
        own = METHOD_FACTOR.get(method)
        values = dict(self.study.resolved["design"]["defaults"])
        if own:
            values[own] = self.study.resolved["methods"][method][own]
        return values

    def baselines(self) -> dict[tuple[str, str, int], list[str]]:
        """(task, model_size, pretraining_tokens) of every untouched base that a cell starts from, and their grids."""
        found: dict[tuple[str, str, int], dict[str, None]] = {}
        for cell in self.cells:
            place = (cell.task, cell.model_size, cell.pretraining_tokens)
            found.setdefault(place, {}).update(dict.fromkeys(self.grids[cell]))
        return {place: list(names) for place, names in found.items()}


def expand(study: Study) -> Design:
    """The design of a study. Names in grids must be known: `check` has seen to that."""
    design = Design(study)
    for grid in study.resolved["design"]["grids"]:
        for cell in grid_cells(study, grid):
            if cell not in design.grids:
                design.cells.append(cell)
                design.grids[cell] = []
            if grid["name"] not in design.grids[cell]:
                design.grids[cell].append(grid["name"])
    _hold_out(design)
    return design


def grid_methods(study: Study, grid: dict[str, Any]) -> list[str]:
    """The methods of a grid: those it names, else all that have the factors it crosses."""
    if "method" in grid:
        return grid["method"]
    own = {factor for factor in METHOD_FACTOR.values() if factor in grid}
    return [name for name in study.resolved["methods"] if own <= {METHOD_FACTOR.get(name)}]


def grid_cells(study: Study, grid: dict[str, Any]) -> Iterable[Cell]:
    """The cells that one grid crosses, in the order of its lists."""
    defaults = study.resolved["design"]["defaults"]
    tasks = grid.get("task", list(study.resolved["tasks"]))
    crossed = [grid.get(factor, [defaults[factor]]) for factor in ("model_size", "pretraining_tokens", "finetuning_examples")]
    for task, method in itertools.product(tasks, grid_methods(study, grid)):
        own = METHOD_FACTOR.get(method)
        levels = {factor: [None] for factor in METHOD_FACTOR.values()}
        if own:
            levels[own] = grid.get(own, [study.resolved["methods"][method][own]])
        for size, tokens, examples, rank, length, seed in itertools.product(
            *crossed, levels["rank"], levels["prompt_length"], grid["seeds"]
        ):
            yield Cell(task, method, size, tokens, examples, rank, length, seed)


def matches(cell: Cell, entry: dict[str, Any]) -> bool:
    """Whether a cell has one of the named values of every factor of a hold-out."""
    return all(getattr(cell, factor) in values for factor, values in entry.items() if factor in FACTORS)


def _hold_out(design: Design) -> None:
    """Classes of held-out cells, against the range that is fitted in their task and method.

    edge_data: D outside of it; edge_size: size, pretraining tokens, rank or length outside; corner: both; else interior.
    """
    entries = design.study.resolved["design"]["hold_out"]
    held = {cell for cell in design.cells if any(matches(cell, entry) for entry in entries)}
    sizes = design.study.resolved["models"]["sizes"]
    order = {name: counts.parameters({**size, "vocabulary": 0})["non_embedding"] for name, size in sizes.items()}

    def place(cell: Cell) -> tuple[int, int, int, int]:
        return order[cell.model_size], cell.pretraining_tokens, cell.rank or 0, cell.prompt_length or 0

    for task, method in design.pairs():
        cells = design.of(task, method)
        fitted = [cell for cell in cells if cell not in held]
        amounts = [cell.finetuning_examples for cell in fitted]
        places = [place(cell) for cell in fitted]
        for cell in cells:
            if cell not in held:
                design.held_out[cell] = ""
                continue
            data = not fitted or not min(amounts) <= cell.finetuning_examples <= max(amounts)
            size = not fitted or any(
                not min(column) <= value <= max(column) for value, column in zip(place(cell), zip(*places))
            )
            design.held_out[cell] = "corner" if data and size else "edge_data" if data else "edge_size" if size else "interior"
