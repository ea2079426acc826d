"""Which laws are fitted together: a parameter shared across tasks, methods, factors or groups ties all laws that hold one value of it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

DIMENSIONS = ("task", "method", "factor", "group")
PAPER = {"beta": ("factor",), "E": ("factor",)}  # Zhang et al. 2024, section 3: beta and E are common to the factors of one task and method


def label(q) -> str:
    """The name of a law among those fitted together."""
    return "/".join((q.task, q.method, q.factor, q.group))


def value_of(q, dims: Sequence[str]) -> tuple:
    """What tells apart the values of a parameter shared across `dims`: laws that agree in all other dimensions hold one value."""
    return tuple((d, getattr(q, d)) for d in DIMENSIONS if d not in dims)


def keys_of(group: list, shared: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Hashable]]:
    """{parameter: {label of a law: the group whose value it holds}}, as `laws.system.System` takes it; parameters of these laws alone."""
    return {name: {label(q): value_of(q, dims) for q in group} for name, dims in shared.items() if any(name in q.form.parameters for q in group)}


def clusters(asked: list, shared: Mapping[str, Sequence[str]]) -> list[list]:
    """The laws, in order, as groups that are fitted together: one form, and connected by parameters that they share."""
    parent = list(range(len(asked)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    first: dict[tuple, int] = {}
    for i, q in enumerate(asked):
        for name, dims in shared.items():
            if name in q.form.parameters:
                other = first.setdefault((q.form.name, q.form.expression, name, value_of(q, dims)), i)
                parent[root(i)] = root(other)
    out: dict[int, list] = {}
    for i, q in enumerate(asked):
        out.setdefault(root(i), []).append(q)
    return list(out.values())
