"""The JSON Schemas of every file that crosses a door: `schemas.load("study")` is study.schema.json as a dict."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any


def path(name: str) -> Path:
    """Where `<name>.schema.json` lies; raises KeyError for a name that has no schema."""
    file = Path(__file__).parent / f"{name}.schema.json"
    if not file.is_file():
        known = sorted(p.name.removesuffix(".schema.json") for p in file.parent.glob("*.schema.json"))
        raise KeyError(f"no schema is called {name!r}; there are {', '.join(known)}")
    return file


@lru_cache(maxsize=None)
def load(name: str) -> dict[str, Any]:
    """The schema called `name`: study, plan, record, laws or report. Read once; do not change it."""
    return json.loads(path(name).read_text(encoding="utf-8"))
