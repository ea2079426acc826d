"""Errors that end a command: one clear message and an exit status, never a traceback."""

from __future__ import annotations

import sys

DONE, FAILED, INPUT, TO_DO, REFUSED, INTERRUPTED = 0, 1, 2, 3, 4, 130

# errors of the rooms that are the input's fault; looked up only among modules that are loaded already
KNOWN = [
    ("compiler.diagnostics", "StudyError", INPUT),
    ("laws.table", "TableError", INPUT),
    ("laws.expression", "ExpressionError", INPUT),
    ("laws.diff", "NotComparable", REFUSED),  # a LawError too, so it comes first
    ("laws.predict", "LawError", INPUT),
    ("reports.read", "ReportError", INPUT),
    ("runtime.errors", "RuntimeInputError", INPUT),
    ("runtime.engines", "DoesNotFit", REFUSED),
    ("runtime.engines", "EngineError", FAILED),
]


class CommandError(Exception):
    """A command that cannot go on; `status` is the exit status."""

    def __init__(self, message: str, status: int = INPUT):
        super().__init__(message)
        self.status = status


def status_of(error: BaseException) -> int | None:
    """The exit status of an error that is meant for people; None for what is a fault of tunelaw itself."""
    if isinstance(error, CommandError):
        return error.status
    for module, name, status in KNOWN:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            return status
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)):
        return INPUT
    return FAILED if isinstance(error, OSError) else None
