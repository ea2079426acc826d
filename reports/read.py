"""Reads a results folder: results.csv, trials.csv, laws.json, plan.json and run.json, with typed values and clear errors."""

import csv
import dataclasses
import json
import math
import pathlib

from reports import foreign

TEXT = {"task", "method", "model_size", "held_out", "key", "status", "base", "device", "role", "level", "at_edge", "seed", "chosen"}


class ReportError(ValueError):
    """The results folder cannot be reported; the message names the file, the place and the next step."""


@dataclasses.dataclass
class Folder:
    """What a results folder holds. Rows are dicts: text columns as str, all others as float or None where empty."""

    path: pathlib.Path
    rows: list
    columns: list
    trials: list
    laws: dict
    plan: dict
    run: dict
    size_words: str = "model size"


def read_folder(path):
    """Returns the `Folder` at `path`. laws.json must be there; without a results.csv of ours, the cells that laws.json lists are reported.

    The other files may be missing. Raises ReportError.
    """
    path = pathlib.Path(path)
    if not path.is_dir():
        raise ReportError(f"{path}: not a folder; give the results folder of a run (it holds results.csv and laws.json)")
    laws = read_json(path / "laws.json", next_step=f"`tunelaw fit {path}` writes it")
    rows, columns, size_words = [], [], "model size"
    if (path / "results.csv").exists():
        rows, columns = read_rows(path / "results.csv")
    names = foreign.names_of(laws)
    if names or not rows:
        laws = foreign.renamed(laws, names)
        rows = foreign.rows_of(laws)
        columns = list(rows[0]) if rows else []
        size_words = next((theirs for theirs, ours in names.items() if ours == foreign.SIZE), size_words)
        if not rows:
            raise ReportError(f"{path / 'results.csv'}: missing or empty, and laws.json lists no cells; `tunelaw run STUDY --out DIR` writes both")
    trials = read_rows(path / "trials.csv")[0] if (path / "trials.csv").exists() else []
    plan = read_json(path / "plan.json") if (path / "plan.json").exists() else {}
    run = read_json(path / "run.json") if (path / "run.json").exists() else {}
    return Folder(path, rows, columns, trials, laws, plan, run, size_words)


def read_json(path, next_step="delete it, or write it again"):
    """Returns the JSON object in `path`, or raises ReportError naming the place that is wrong."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReportError(f"{path}: not found; {next_step}") from None
    except UnicodeDecodeError as error:
        raise ReportError(f"{path}: not UTF-8 ({error.reason}); {next_step}") from None
    except json.JSONDecodeError as error:
        raise ReportError(f"{path}:{error.lineno}:{error.colno}: not JSON ({error.msg}); {next_step}") from None
    if not isinstance(value, dict):
        raise ReportError(f"{path}: holds a {type(value).__name__}, an object is needed; {next_step}")
    return value


def read_rows(path, next_step="delete it, or write it again"):
    """Returns (rows, columns) of a CSV file. A cell that is empty is None; a number that cannot be read is an error."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            columns = next(reader, [])
            raw = [(reader.line_num, line) for line in reader if line]
    except FileNotFoundError:
        raise ReportError(f"{path}: not found; {next_step}") from None
    except UnicodeDecodeError as error:
        raise ReportError(f"{path}: not UTF-8 ({error.reason}); {next_step}") from None
    if not columns:
        raise ReportError(f"{path}: empty; a header line with the columns of results.csv is needed; {next_step}")
    doubles = sorted({name for name in columns if columns.count(name) > 1})
    if doubles:
        raise ReportError(f"{path}:1: the column {doubles[0]!r} stands twice; each name may stand once")
    rows = []
    for line, cells in raw:
        if len(cells) != len(columns):
            raise ReportError(f"{path}:{line}: {len(cells)} cells, the header has {len(columns)}; {next_step}")
        rows.append({name: typed(name, cell, path, line) for name, cell in zip(columns, cells)})
    return rows, columns


def typed(name, cell, path, line):
    """One cell of a table: str for text columns, float for the others, None where empty or not a finite number."""
    if name in TEXT:
        return cell
    if cell == "":
        return None
    try:
        value = float(cell)
    except ValueError:
        known = {"test_loss", "pretraining_loss", "finetuning_examples", "non_embedding_parameters", "pretraining_tokens", "dev_loss"}
        if name in known:
            raise ReportError(f"{path}:{line}: {name} is {cell!r}; a number or an empty cell is needed") from None
        return cell
    return value if math.isfinite(value) else None
