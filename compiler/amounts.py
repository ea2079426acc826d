"""Numbers of examples that a study has, counted in its files only when something asks for them."""

from __future__ import annotations

from typing import Any

from compiler import files
from compiler.defaults import as_list
from compiler.study import Study


def source_rows(study: Study, source: dict[str, Any]) -> int:
    """Number of examples in a file source."""
    return files.rows(study.files[source["path"]].location, source["format"], source["header"])


def pool(study: Study, task: str) -> int:
    """The largest D that a task's training examples allow, the shares of its sources kept."""
    data = study.resolved["tasks"][task]["data"]
    if data.get("kind") == "synthetic":
        return data["train"]
    return min(int(source_rows(study, source) / source["share"] + 1e-9) for source in data["train"])


def dev_examples(study: Study, task: str) -> int:
    """Number of dev examples of a task."""
    data = study.resolved["tasks"][task]["data"]
    return data["dev"] if data.get("kind") == "synthetic" else sum(source_rows(study, source) for source in data["dev"])


def test_examples(study: Study, task: str, role: str, name: str) -> int:
    """Number of examples of a test or zero-shot set."""
    values = study.resolved["tasks"][task]
    if role == "test" and values["data"].get("kind") == "synthetic":
        return values["data"]["test"]
    group = values["data"]["test"][name] if role == "test" else values["zero_shot"][name]
    return sum(source["examples"] if source["kind"] == "synthetic" else source_rows(study, source) for source in as_list(group))
