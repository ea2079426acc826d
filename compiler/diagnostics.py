"""Problems of a study, each at its place, and how they are shown: the line, a caret under it, what is expected."""

from __future__ import annotations

import difflib
import unicodedata
from dataclasses import dataclass, field
from typing import Any, Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a source: 1-based line and column where it begins, 1-based line and column just behind it."""

    source: "Source"
    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, eq=False)
class Source:
    """A text that was read, and what it is called in messages. `order` sorts sources: the study, then --set."""

    name: str
    text: str
    order: int = 0

    def line(self, number: int) -> str:
        """Line `number` (1-based) without its end, or an empty string behind the last."""
        lines = self.text.split("\n")
        return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: `id` in capitals, `severity` error or warning, its place, what is wrong, and what to do (`hint`)."""

    id: str
    severity: str
    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    span: Span | None = field(default=None, compare=False, repr=False)

    @classmethod
    def at(cls, span: Span, id: str, message: str, hint: str = "", severity: str = "error") -> "Problem":
        """A problem at a span."""
        return cls(id, severity, span.source.name, span.line, span.column, message, hint, span)

    def to_json(self) -> dict[str, Any]:
        """The problem as plain JSON: id, severity, file, line, column, message, hint."""
        return {name: getattr(self, name) for name in ("id", "severity", "file", "line", "column", "message", "hint")}

    def render(self) -> str:
        """The problem as text, the way a compiler shows it: message, place, the line with a caret, the hint."""
        head = f"{self.severity}[{self.id}]: {self.message}"
        if self.span is None:
            place = f" --> {self.file}:{self.line}:{self.column}" if self.line else f" --> {self.file}"
            return "\n".join([head, place] + ([f"  = help: {self.hint}"] if self.hint else []))
        line = self.span.source.line(self.line)
        if self.span.end_line == self.line:
            length = max(1, self.span.end_column - self.column)
        else:
            length = max(1, len(line.rstrip()) - self.column + 1)
        start = self.column - 1
        if len(line) > 160:  # keep the place in view on very long lines
            cut = max(0, start - 60)
            line = ("..." if cut else "") + line[cut : cut + 120] + "..."
            start = start - cut + (3 if cut else 0)
            length = min(length, 60)
        gutter = " " * len(str(self.line))
        blank = "".join("\t" if char == "\t" else " " * _width(char) for char in line[:start])
        length = sum(_width(char) for char in line[start : start + length]) or 1
        rows = [head, f"{gutter}--> {self.file}:{self.line}:{self.column}", f"{gutter} |", f"{self.line} | {line}"]
        rows.append(f"{gutter} | {blank}{'^' * length}" + (f" help: {self.hint}" if self.hint else ""))
        return "\n".join(rows)


def _width(char: str) -> int:
    """Columns that a character takes in a terminal: two for Chinese and the like, none for combining marks."""
    return 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1


class StudyError(Exception):
    """A study that cannot be run as asked; `problems` holds every error, in the order of the file, each once."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = in_order(problems)
        super().__init__(render(self.problems))


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Problems in the order of the file, none twice; errors and warnings mixed."""
    unique: dict[tuple, Problem] = {}
    for problem in problems:
        unique.setdefault((problem.id, problem.file, problem.line, problem.column, problem.message), problem)
    order = lambda p: (p.span.source.order if p.span else -1, p.line, p.column, p.severity, p.id, p.message)
    return sorted(unique.values(), key=order)


def render(problems: Sequence[Problem]) -> str:
    """All problems as text, an empty line between, and a last line that counts them."""
    if not problems:
        return ""
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    words = [f"{count} {word}{'s' if count > 1 else ''}" for count, word in ((errors, "error"), (warnings, "warning")) if count]
    return "\n\n".join([*(problem.render() for problem in problems), ", ".join(words)])


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The word that was probably meant, or None."""
    words = list(words)
    lowered = {known.lower(): known for known in words}
    if word.lower() in lowered:
        return lowered[word.lower()]
    found = difflib.get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def listing(words: Iterable[Any]) -> str:
    """Words for a message: `a, b or c`."""
    texts = [str(word) for word in words]
    return texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + " or " + texts[-1] if texts else "nothing"


def suggest(word: str, words: Iterable[str], what: str = "expected") -> str:
    """A hint for a wrong word: the nearest one, or all of them."""
    words = list(words)
    near = nearest(word, words)
    return f"did you mean {near!r}?" if near else f"{what}: {listing(words)}"
