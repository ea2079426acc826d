"""Reading a table of results, from our own results.csv or from elsewhere: columns with units, bad cells named by row and column."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TEXT = {"task", "method", "model_size", "held_out", "key", "status", "base", "device", "role", "level", "at_edge"}
FACTORS = (
    "model_parameters", "non_embedding_parameters", "pretraining_tokens", "finetuning_examples", "finetuning_tokens",
    "peft_parameters", "rank", "prompt_length", "learning_rate",
)  # fmt: skip
HELD_OUT = ("interior", "edge_size", "edge_data", "corner")
CONVENTIONAL = ("task", "method", "seed", "held_out", "status", "learning_rate", "best_step", "untuned_loss", "dev_loss")


class TableError(ValueError):
    """The table or the request is at fault; the message names the place, what is there and what is accepted."""


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


def read_table(path, factors: dict[str, str] | None = None, response: str | list[str] | None = None, group: list[str] | str | None = None) -> Table:
    """A table from a results.csv, a run folder, a CSV/TSV (plain or .gz), a Parquet file, a pandas DataFrame or a dict of columns.

    Without `factors` the table must have the columns of results.csv. With `factors` (symbol -> column, e.g. {"X": "params", "D":
    "examples"}), `response` and `group` name the columns of a foreign table. Raises TableError naming row and column.
    """
    header, raw, lines, source = _load(path)
    if factors is None:
        return _ours(header, raw, lines, source)
    responses = [response] if isinstance(response, str) else list(response or [])
    groups = split_names(group)
    if not responses:
        raise TableError(f"{source}: which column is the response? Say it with --response; the columns are {_names(header)}")
    for what, names in (("factor", factors.values()), ("response", responses), ("group", groups)):
        for name in names:
            if name not in header:
                raise TableError(f"{source}: there is no column {name!r} for a {what}; the columns are {_names(header)}")
    numeric = {*factors.values(), *responses}
    clash = sorted(numeric & set(groups))
    if clash:
        raise TableError(f"{source}: column {clash[0]!r} cannot be both a number (factor or response) and a group; take it out of one of them")
    keep = [n for n in header if n in numeric or n in groups or n in CONVENTIONAL]
    columns = {}
    for name in keep:
        values = raw[header.index(name)]
        number = name in numeric or name in ("learning_rate", "best_step", "untuned_loss", "dev_loss")
        columns[name] = _numbers(values, name, lines, source) if number and name not in groups else _words(values)
    table = Table(columns, lines, source)
    for name in factors.values():
        _refuse_negative(table, name)
    return table


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
    header, raw, lines, source = _load(file)
    columns = {n: _words(v) if n in TEXT | {"seed"} else _numbers(v, n, lines, source) for n, v in zip(header, raw)}
    return Table(columns, lines, source)


def as_table(value) -> Table:
    """A Table as it is; anything else is read as results in our own columns."""
    return value if isinstance(value, Table) else read_table(value)


def split_names(value) -> list[str]:
    """["a", "b"] from a list or from "a,b"."""
    if value is None:
        return []
    return [v.strip() for v in value.split(",") if v.strip()] if isinstance(value, str) else list(value)


def _ours(header, raw, lines, source) -> Table:
    for need in ("task", "method", "finetuning_examples"):
        if need not in header:
            raise TableError(
                f"{source}: there is no column {need!r}, so this is not a results.csv of tunelaw; for a table made elsewhere say which columns "
                f"are which, e.g. --factors X=params,D=examples --response loss; the columns are {_names(header)}"
            )
    columns = {}
    for name, values in zip(header, raw):
        columns[name] = _words(values) if name in TEXT | {"seed"} else _numbers(values, name, lines, source, text_ok=name not in FACTORS and "loss" not in name)
    table = Table({k: v for k, v in columns.items() if v is not None}, lines, source)
    for name in FACTORS:
        _refuse_negative(table, name)
    for i, value in enumerate(table.words("held_out")):
        if value and value not in HELD_OUT:
            raise TableError(f"{source}, row {lines[i]}, column held_out: {value!r} is not one of {', '.join(HELD_OUT)} or empty")
    return table


def _load(path):
    """(header, columns of raw values, line numbers, name for messages)."""
    if hasattr(path, "to_dict") and hasattr(path, "columns"):  # pandas, without importing it
        path = {str(c): path[c].tolist() for c in path.columns}
    if isinstance(path, dict):
        sizes = {len(v) for v in path.values()}
        if len(sizes) > 1:
            raise TableError("the columns of the table have different lengths")
        return _checked(list(path), [list(v) for v in path.values()], np.arange(2, 2 + (sizes.pop() if sizes else 0)), "table")
    path = Path(path)
    if path.is_dir():
        if not (path / "results.csv").is_file():
            raise TableError(f"{path}: this folder has no results.csv; run the study first, or name the table itself")
        path = path / "results.csv"
    if not path.is_file():
        raise TableError(f"{path}: there is no such file")
    name = path.name
    if path.suffix.lower() in (".parquet", ".pq"):
        return _parquet(path, name)
    opener = gzip.open if path.suffix == ".gz" else open
    tabs = ".tsv" in [s.lower() for s in path.suffixes]
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter="\t" if tabs else ",", strict=not tabs, quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL)
            rows, lines = [], []
            for row in reader:
                if row and any(cell.strip() for cell in row):
                    rows.append(row)
                    lines.append(reader.line_num)
    except UnicodeDecodeError as error:
        raise TableError(f"{name}: this is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8 CSV or Parquet") from None
    except (csv.Error, gzip.BadGzipFile, EOFError) as error:
        raise TableError(f"{name}: this is not a readable table: {error}") from None
    if not rows:
        raise TableError(f"{name}: the table is empty; a header and at least one row are needed")
    header = [cell.strip() for cell in rows[0]]
    for row, line in zip(rows[1:], lines[1:]):
        if len(row) != len(header):
            raise TableError(f"{name}, row {line}: {len(row)} cells where the header has {len(header)}")
    columns = [list(c) for c in zip(*rows[1:])] or [[] for _ in header]
    return _checked(header, columns, np.array(lines[1:], int), name)


def _parquet(path, name):
    import pyarrow
    import pyarrow.parquet

    try:
        data = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise TableError(f"{name}: this is not a readable Parquet file: {error}") from None
    return _checked(data.column_names, [c.to_pylist() for c in data.columns], np.arange(2, 2 + data.num_rows), name)


def _checked(header, columns, lines, name):
    double = sorted({h for h in header if header.count(h) > 1})
    if double:
        raise TableError(f"{name}: the column {double[0]!r} stands there twice; column names must differ")
    if not header:
        raise TableError(f"{name}: the table has no columns")
    if not len(lines):
        raise TableError(f"{name}: the table has a header but no rows")
    return header, columns, lines, name


def _words(values) -> np.ndarray:
    clean = []
    for v in values:
        if v is None or (isinstance(v, float) and v != v):
            clean.append("")
        elif isinstance(v, float) and v.is_integer():
            clean.append(str(int(v)))
        else:
            clean.append(str(v).strip())
    return np.array(clean, object)


def _numbers(values, name, lines, source, text_ok=False) -> np.ndarray | None:
    try:
        return np.array([np.nan if v is None or v == "" else v for v in values], dtype=float)
    except (ValueError, TypeError, OverflowError):
        pass
    out = np.empty(len(values))
    for i, v in enumerate(values):
        text = "" if v is None else str(v).strip()
        try:
            out[i] = float(text) if text else np.nan
        except ValueError:
            if text_ok:
                return _words(values)
            raise TableError(f"{source}, row {lines[i]}, column {name}: {text[:60]!r} is not a number; write a number or leave the cell empty") from None
    return out


def _refuse_negative(table: Table, name: str) -> None:
    values = table.numbers(name)
    bad = np.flatnonzero((values < 0) | np.isinf(values))
    if len(bad):
        place = f"{table.source}, row {table.lines[bad[0]]}, column {name}"
        raise TableError(f"{place}: {values[bad[0]]:g} cannot be the value of a factor; factors are finite and not negative")


def _names(header) -> str:
    shown = ", ".join(map(str, header[:20]))
    return shown + (f" and {len(header) - 20} more" if len(header) > 20 else "")
