"""tunelaw as a library: `load` a study, `.plan()` and `.run()` it; `fit` a table or `load_laws`; `report` a results folder."""

from __future__ import annotations

__all__ = ["Law", "LawSet", "Study", "fit", "load", "load_laws", "report"]


def __getattr__(name: str):
    if name in __all__:
        import importlib

        return getattr(importlib.import_module("tunelaw.lawset" if name.startswith("Law") else "tunelaw.api"), name)
    raise AttributeError(f"module 'tunelaw' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
