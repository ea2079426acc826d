"""Runs the rules about what a study means: each has an id, speaks at the right place, and trusts only what was accepted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Callable, Iterable

from compiler.diagnostics import Problem

if TYPE_CHECKING:
    from compiler.design import Design
    from compiler.study import Study


@dataclass
class Subject:
    """A study under examination, and its design once a rule asks for it."""

    study: "Study"

    @cached_property
    def design(self) -> "Design":
        from compiler.design import expand

        return expand(self.study)


Rule = Callable[[Subject], Iterable[Problem]]
RULES: list[tuple[Rule, frozenset[str], frozenset[str]]] = []


def rule(reads: str, spoils: str = "") -> Callable[[Rule], Rule]:
    """Registers a rule. `reads`: what must be sound for it to run; `spoils`: what is unsound after an error of it.

    Words are the sections of a study, and: files (all are there, their formats known), shapes (complete and possible),
    names (grids name only what exists), levels, shares, sizes, held (each without an error of the rule that looks at it).
    """
    def register(function: Rule) -> Rule:
        RULES.append((function, frozenset(reads.split()), frozenset(spoils.split())))
        return function

    return register


def run(study: "Study") -> list[Problem]:
    """All problems that the rules find, each mistake once."""
    from compiler.rules import laws  # (with it, all rules register themselves)

    problems: list[Problem] = []
    broken = set(study.broken)
    subject = Subject(study)
    for function, reads, spoils in RULES:
        if reads & broken:
            continue
        found = list(function(subject))
        problems += found
        if any(problem.severity == "error" for problem in found):
            broken |= spoils
    if not broken and not study.wrote("laws", "factors"):
        # Of the factors that stand there by default only those stay that the design varies.
        study.resolved["laws"]["factors"] = laws.varied_factors(subject.design)
    return problems
