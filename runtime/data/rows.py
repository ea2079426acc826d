"""The files of a data artifact: one JSON object a line, and beside them where the rows came from and in which shares."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from runtime.errors import DataError

SOURCES = "sources.json"


def write_rows(path: Path, rows: Iterable[dict]) -> int:
    """Writes one JSON object a line, UTF-8; returns how many."""
    count = 0
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def read_rows(path: Path) -> Iterator[dict]:
    """The rows that `write_rows` wrote, one after the other."""
    if not path.is_file():
        raise DataError(f"{path}: this data artifact is incomplete; remove its job's folder and run again")
    with open(path, encoding="utf-8", newline="\n") as file:
        for line in file:
            yield json.loads(line)


def load_examples(artifact: Path | str) -> tuple[list[dict], list[dict]]:
    """Train and dev rows of an examples artifact: {"source", "targets": [..], "language", "origin"} each."""
    artifact = Path(artifact)
    return list(read_rows(artifact / "train.jsonl")), list(read_rows(artifact / "dev.jsonl"))


def load_test(artifact: Path | str) -> list[dict]:
    """Rows of a test_set artifact: {"source", "targets": [..], "language", "origin"} each."""
    return list(read_rows(Path(artifact) / "test.jsonl"))


def load_shares(artifact: Path | str, part: str = "train") -> list[float]:
    """The share of each source (a row's `origin`) that the study asked for, as `subset` takes it."""
    return [float(source["share"]) for source in load_sources(artifact)[part]]


def write_sources(artifact: Path, parts: dict[str, list[dict]]) -> None:
    """Notes the sources of each part: [{"share", "rows", ..}], in the order of the rows' origins."""
    (artifact / SOURCES).write_text(json.dumps(parts, indent=1, ensure_ascii=False) + "\n", "utf-8")


def load_sources(artifact: Path | str) -> dict[str, list[dict]]:
    """What `write_sources` noted."""
    path = Path(artifact) / SOURCES
    if not path.is_file():
        raise DataError(f"{path}: this data artifact is incomplete; remove its job's folder and run again")
    return json.loads(path.read_text("utf-8"))
