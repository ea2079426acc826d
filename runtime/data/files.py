"""Reads rows of text from the files that people have: TSV, CSV, JSONL, Parquet and plain text, plain or gzipped.

Rows are numbered from 1 as an editor numbers lines (a CSV record by its last line); blank lines are passed over and counted. Lines end
at a line feed alone (a carriage return before it goes): a Unicode line separator within a field never splits a row.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from runtime.errors import DataError

FORMATS = ("text", "tsv", "csv", "jsonl", "parquet")
Column = int | str


def digest_of(path: Path) -> str:
    """The file's identity: "sha256:<hex>" over its bytes as they lie on disk."""
    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def find_file(path: str, roots: Sequence[Path]) -> Path:
    """The file that a study's path names, looked up in each root in turn. Raises DataError that lists where it was looked for."""
    candidates = [Path(path)] if Path(path).is_absolute() else [Path(root) / path for root in roots]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    where = ", ".join(str(c) for c in candidates) or "nowhere: no data root is known"
    raise DataError(f"data file {path!r} was not found (looked at {where}); correct the path, or name the folder it lies in with --data DIR")


def open_verified(path: str, digest: str | None, roots: Sequence[Path]) -> Path:
    """`find_file`, and the file still is the one that the plan was made for (`digest`). Raises DataError otherwise."""
    found = find_file(path, roots)
    if digest is not None and (seen := digest_of(found)) != digest:
        raise DataError(f"{found}: the file changed since the plan was made (it was {digest}, now it is {seen}); plan again, or put the old file back")
    return found


def read_content(path: Path) -> bytes:
    """The bytes of a file, unpacked where it is gzipped (by its content, whatever its name). Raises DataError for a damaged one."""
    data = path.read_bytes()
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: the gzip file is damaged or incomplete ({error}); copy it again") from None


def read_texts(path: Path, format: str, column: Column | None = None, header: bool | None = None) -> list[str]:
    """The texts of a file: every line that is not blank (format text), or one column of a table. Raises DataError."""
    if format == "text":
        return [line for _, line in _lines(path) if line.strip()]
    if column is None:
        raise DataError(f"{path}: {format} has columns; say which one holds the text with `column`")
    header = isinstance(column, str) if header is None else header
    return [_text(path, row, column, cells[0]) for row, cells in _cells(path, format, [column], header)]


def read_pairs(path: Path, format: str, source: Column, target: Column | list[Column], header: bool = False) -> tuple[list[str], list[list[str]]]:
    """Sources and their targets (one or several references each: several columns, or a column that holds a list).

    Raises DataError for a row without its columns, with an empty source, or without any target.
    """
    if format == "text":
        raise DataError(f"{path}: plain text has no source and target columns; accepted for examples: {', '.join(FORMATS[1:])}")
    columns = list(target) if isinstance(target, list) else [target]
    sources, targets = [], []
    for row, (given, *references) in _cells(path, format, [source, *columns], header):
        sources.append(_text(path, row, source, given))
        found: list[str] = []
        for column, reference in zip(columns, references):
            if isinstance(reference, list):
                found += [_text(path, row, column, r) for r in reference]
            elif len(columns) == 1 or reference not in ("", None):  # of several references some may be missing
                found.append(_text(path, row, column, reference))
        if not found:
            raise DataError(f"{path}, row {row}: no target in {_name(target)}; every row needs one")
        targets.append(found)
    return sources, targets


def _cells(path: Path, format: str, columns: list[Column], header: bool) -> Iterator[tuple[int, list]]:
    readers = {"tsv": _tsv, "csv": _csv, "jsonl": _jsonl, "parquet": _parquet}
    if format not in readers:
        raise DataError(f"{path}: unknown format {format!r}; accepted: {', '.join(FORMATS)}")
    if format in ("tsv", "csv"):
        return _table(path, readers[format](path), columns, header)
    return readers[format](path, columns)


def _table(path: Path, rows: Iterator[tuple[int, list[str]]], columns: list[Column], header: bool) -> Iterator[tuple[int, list]]:
    where: list[int] | None = None
    width = 0
    for row, cells in rows:
        if where is None:
            where, width = _positions(path, cells, columns, header), len(cells)
            if header:
                continue
        if len(cells) != width:
            raise DataError(f"{path}, row {row}: {len(cells)} columns where the first row has {width}: {_shown(cells)}")
        yield row, [cells[i] for i in where]


def _positions(path: Path, first: list[str], columns: list[Column], header: bool) -> list[int]:
    out = []
    for column in columns:
        if isinstance(column, str):
            if not header:
                raise DataError(f"{path}: column {column!r} is a name, but the file is read without a header; "
                                "set `header: true`, or give the column's number, counted from 0")
            if column not in first:
                raise DataError(f"{path}: no column {column!r}; its header has {', '.join(first)}")
            out.append(first.index(column))
        elif not 0 <= column < len(first):
            raise DataError(f"{path}, row 1: no column {column}; the row has {len(first)} column(s), counted from 0: {_shown(first)}")
        else:
            out.append(column)
    return out


def _tsv(path: Path) -> Iterator[tuple[int, list[str]]]:
    for row, line in _lines(path):
        if line.strip():
            yield row, line.split("\t")


def _csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(2**31 - 1)  # a cell may hold a whole document
    reader = csv.reader(io.StringIO(_decode(path, read_content(path)), newline=""), strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{path}, row {reader.line_num}: not CSV as RFC 4180 has it ({error}); quotes inside a cell are doubled") from None
        if cells:
            yield reader.line_num, cells


def _jsonl(path: Path, columns: list[Column]) -> Iterator[tuple[int, list]]:
    for column in columns:
        if not isinstance(column, str):
            raise DataError(f"{path}: column {column} is a number; JSONL has named fields")
    for row, line in _lines(path):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, row {row}: not JSON ({error.msg} at character {error.colno}): {_shown([line])}") from None
        if not isinstance(record, dict):
            raise DataError(f"{path}, row {row}: a JSON {type(record).__name__}; every line must be an object with named fields")
        yield row, [_field(path, row, record, column) for column in columns]


def _field(path: Path, row: int, record: dict, column: str):
    value = record
    for name in [column] if column in record else column.split("."):
        if not isinstance(value, dict) or name not in value:
            raise DataError(f"{path}, row {row}: no field {column!r}; it has {', '.join(map(str, record)) or 'none'}")
        value = value[name]
    return value


def _parquet(path: Path, columns: list[Column]) -> Iterator[tuple[int, list]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(io.BytesIO(read_content(path)))
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None
    names, values = table.column_names, []
    for column in columns:
        if isinstance(column, int) and 0 <= column < len(names):
            values.append(table.column(column).to_pylist())
        elif column in names:
            values.append(table.column(column).to_pylist())
        elif isinstance(column, str) and column.split(".")[0] in names:
            rest = column.partition(".")[2]
            records = table.column(column.split(".")[0]).to_pylist()
            values.append([_field(path, row, record or {}, rest) for row, record in enumerate(records, 1)])
        else:
            raise DataError(f"{path}: no column {column!r}; it has {', '.join(names)}")
    for row, cells in enumerate(zip(*values), 1):
        yield row, list(cells)


def _decode(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        row = 1 + data.count(b"\n", 0, error.start)
        raise DataError(f"{path}, row {row}: byte 0x{data[error.start]:02x} is not UTF-8; convert the file to UTF-8") from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    for row, line in enumerate(_decode(path, read_content(path)).split("\n"), 1):
        yield row, line.removesuffix("\r")


def _text(path: Path, row: int, column: Column, value) -> str:
    if not isinstance(value, str):
        raise DataError(f"{path}, row {row}: {_name(column)} holds {value!r}; text is needed")
    if not value.strip():
        raise DataError(f"{path}, row {row}: {_name(column)} is empty; complete the row or take it out")
    return value


def _name(column: Column | list[Column]) -> str:
    return "columns " + ", ".join(map(repr, column)) if isinstance(column, list) else f"column {column!r}"


def _shown(cells: list[str]) -> str:
    text = " | ".join(cells)
    return repr(text if len(text) <= 80 else text[:77] + "...")
