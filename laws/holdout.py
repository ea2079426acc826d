"""Hold-outs of a table made elsewhere: which rows a comparison such as `D>100000` holds out, and of what kind each is."""

from __future__ import annotations

import numpy as np

from laws import options
from laws.reading import TableError
from laws.table import Table


def held_out(table: Table, factors: dict[str, str], groups: list[str], rules) -> np.ndarray:
    """The column held_out from comparisons; its kind is worked out in each group: beyond the fitted D, beyond another factor, both, or neither."""
    out = np.zeros(len(table), bool) if "held_out" not in table else table["held_out"] != ""
    for rule in rules:
        rows = _matching(table, factors, rule)
        if not rows.any():
            raise TableError(f"--hold-out {rule!r}: no row of {table.source} is like that, so nothing would be held out")
        out |= rows
    if out.all():
        raise TableError(f"--hold-out: every row of {table.source} would be held out, and none is left to fit")
    code = codes_of([table[g] for g in groups], len(table))
    beyond = {}
    for symbol, column in factors.items():
        values = table.numbers(column)
        low, high = np.full(code.max() + 1, np.inf), np.full(code.max() + 1, -np.inf)
        fitted = ~out & np.isfinite(values) & (values > 0)
        np.minimum.at(low, code[fitted], values[fitted])
        np.maximum.at(high, code[fitted], values[fitted])
        beyond[symbol] = (values < low[code]) | (values > high[code])
    data = beyond.pop("D")
    size = np.any(list(beyond.values()), axis=0) if beyond else np.zeros(len(table), bool)
    kind = np.where(data & size, "corner", np.where(data, "edge_data", np.where(size, "edge_size", "interior"))).astype(object)
    kind[~out] = ""
    return kind


def _matching(table: Table, factors: dict[str, str], rule: str) -> np.ndarray:
    """Rows for which a comparison holds; a missing cell never does."""
    name, sign, text = options.parse_rule(rule)
    column = factors.get(name, name)
    if column not in table:
        known = [*factors, *table.columns]
        raise TableError(f"--hold-out {rule!r}: {name} is neither a symbol nor a column of the table{options.near(name, known)}; known are {options.names(list(dict.fromkeys(known)))}")
    values = table[column]
    if values.dtype.kind != "f":
        if sign not in ("=", "!="):
            raise TableError(f"--hold-out {rule!r}: {column} holds words, which compare with = and != alone")
        return (values == text) if sign == "=" else (values != text) & (values != "")
    try:
        limit = float(text)
    except ValueError:
        raise TableError(f"--hold-out {rule!r}: {text!r} is not a number, and {column} is a column of numbers") from None
    compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "=": np.equal, "!=": np.not_equal}[sign]
    return compare(values, limit) & np.isfinite(values)


def codes_of(columns: list[np.ndarray], size: int) -> np.ndarray:
    """One whole number for each row, equal where the rows agree in all columns; NaN equals NaN."""
    out = np.zeros(size, np.int64)
    for column in columns:
        if column.dtype.kind == "f":
            part = np.unique(column, return_inverse=True)[1]
        else:
            seen: dict = {}
            part = np.fromiter((seen.setdefault(v, len(seen)) for v in column), np.int64, size)
        out = np.unique(out * (int(part.max(initial=0)) + 1) + part, return_inverse=True)[1]
    return out
