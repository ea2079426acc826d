"""Reading a table of results, from our own results.csv or from elsewhere: columns with units, bad cells named by row and column."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from laws.options import proposal, split_names
from laws.reading import Raw, TableError, as_words, load

TEXT = {"task", "method", "model_size", "held_out", "key", "status", "base", "device", "role", "level", "at_edge"}
FACTORS = (
    "model_parameters", "non_embedding_parameters", "pretraining_tokens", "finetuning_examples", "finetuning_tokens",
    "peft_parameters", "rank", "prompt_length", "learning_rate",
)  # fmt: skip
HELD_OUT = ("interior", "edge_size", "edge_data", "corner")


@dataclass
class Table:
    """Columns of equal length: numbers as float64 with NaN where empty, text as str objects ("" where empty).

    `lines` is the place of each row as the user sees it (the header is line 1).
    """

    columns: dict[str, np.ndarray]
    lines: np.ndarray
    source: str = "table"

    def __len__(self) -> int:
        return len(self.lines)

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def numbers(self, name: str) -> np.ndarray:
        """A numeric column, or NaN everywhere where there is none."""
        return self.columns.get(name, np.full(len(self), np.nan))

    def words(self, name: str) -> np.ndarray:
        """A text column, or "" everywhere where there is none."""
        return self.columns.get(name, np.full(len(self), "", object))

    def take(self, rows: np.ndarray) -> "Table":
        """Some of the rows."""
        return Table({k: v[rows] for k, v in self.columns.items()}, self.lines[rows], self.source)


def read_table(path, factors: dict[str, str] | None = None, response: str | list[str] | None = None, group: list[str] | str | None = None, wide: str | None = None) -> Table:
    """A table from a results.csv, a run folder, a CSV/TSV (plain or .gz), a Parquet file, a pandas DataFrame or a dict of columns.

    Without `factors` the table must have the columns of results.csv. With `factors` (symbol -> column, e.g. {"X": "params", "D":
    "examples"}), `response` and `group` name the columns of a foreign table; `wide` as in `laws.fit_foreign`. Raises TableError naming
    row and column.
    """
    if factors is None and wide is None:
        return _ours(load(path))
    from laws.foreign import read_foreign

    return read_foreign(path, factors, response, group, wide).table


def read_trials(path) -> Table | None:
    """The trials.csv of a run folder (or beside a results.csv), or None where there is none, or no row in it."""
    if not isinstance(path, (str, Path)):
        return None
    path = Path(path)
    file = path / "trials.csv" if path.is_dir() else path if path.name == "trials.csv" else path.parent / "trials.csv"
    if not file.is_file():
        return None
    with open(file, encoding="utf-8", errors="replace") as text:
        if not any(line.strip() for line in list(text)[1:]):
            return None  # a study with plain learning rates and no budget check tried nothing
    raw = load(file)
    return Table({n: as_words(v) if n in TEXT | {"seed"} else raw.numbers(n) for n, v in zip(raw.header, raw.columns)}, raw.lines, raw.source)


def as_table(value) -> Table:
    """A Table as it is; anything else is read as results in our own columns."""
    return value if isinstance(value, Table) else read_table(value)


def _ours(raw: Raw) -> Table:
    for need in ("task", "method", "finetuning_examples"):
        if need not in raw.header:
            raise TableError(f"{raw.source}: there is no column {need!r}, so this is not a results.csv of tunelaw. {proposal(raw)}")
    columns = {}
    for name, values in zip(raw.header, raw.columns):
        if name in TEXT | {"seed"}:
            columns[name] = as_words(values)
            continue
        try:
            columns[name] = raw.numbers(name)
        except TableError:
            if name in FACTORS or "loss" in name:
                raise
            columns[name] = as_words(values)
    table = Table(columns, raw.lines, raw.source)
    for name in FACTORS:
        refuse_negative(table, name)
    refuse_held_out(table)
    return table


def refuse_held_out(table: Table) -> None:
    """TableError where a mark of the column held_out is none of ours."""
    for i, value in enumerate(table.words("held_out") if "held_out" in table else ()):
        if value and value not in HELD_OUT:
            raise TableError(f"{table.source}, row {table.lines[i]}, column held_out: {value!r} is not one of {', '.join(HELD_OUT)} or empty")


def refuse_negative(table: Table, name: str) -> None:
    """TableError where a factor is negative or infinite."""
    values = table.numbers(name)
    bad = np.flatnonzero((values < 0) | np.isinf(values))
    if len(bad):
        place = f"{table.source}, row {table.lines[bad[0]]}, column {name}"
        raise TableError(f"{place}: {values[bad[0]]:g} cannot be the value of a factor; factors are finite and not negative")


__all__ = ["FACTORS", "HELD_OUT", "Table", "TableError", "as_table", "read_table", "read_trials", "refuse_held_out", "refuse_negative", "split_names"]
