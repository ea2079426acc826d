"""tunelaw as a library: `load` a study, `.plan()` and `.run()` it; `fit` a table; `report` a results folder."""

from __future__ import annotations

__all__ = ["Study", "fit", "load", "report"]


def __getattr__(name: str):
    if name in __all__:
        from tunelaw import api

        return getattr(api, name)
    raise AttributeError(f"module 'tunelaw' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
