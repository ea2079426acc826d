"""What a user writes about a foreign table, read and checked: which column is what, wide tables, forms, sharing, bounds, hold-outs."""

from __future__ import annotations

import math
import re

from laws.reading import Raw, TableError

EXAMPLE = "X=params,D=examples"
OPERATORS = set("*/+()^") | {" - "}
COMPARISON = re.compile(r"^\s*(.+?)\s*(<=|>=|==|!=|=|<|>)\s*(.+?)\s*$")
DIMENSIONS = ("task", "method", "factor", "group")
SIZE_WORDS = ("param", "size", "model", "width")  # what a column of a factor is often called, for proposals alone
DATA_WORDS = ("example", "data", "token", "sample", "train", "n_", "shots")
LOSS_WORDS = ("loss", "nll", "perplexity", "ppl", "error", "bpb", "entropy")


def split_names(value) -> list[str]:
    """["a", "b"] from a list or from "a,b"."""
    if value is None:
        return []
    return [v.strip() for v in value.split(",") if v.strip()] if isinstance(value, str) else list(value)


def names(header) -> str:
    """Column names as a message lists them."""
    shown = ", ".join(map(str, header[:20]))
    return shown + (f" and {len(header) - 20} more" if len(header) > 20 else "")


def near(word: str, known) -> str:
    """"; near it: ..." where a name was probably mistyped."""
    import difflib

    found = difflib.get_close_matches(str(word).lower(), [str(k).lower() for k in known], n=2, cutoff=0.6)
    close = [k for k in known if str(k).lower() in found]
    return f" (near it: {', '.join(close)})" if close else ""


def parse_factors(factors, wide: str | None = None) -> dict[str, str]:
    """{"X": "params", "D": "examples"} from a dict or from "X=params,D=examples"; `wide` is the symbol that a wide table gives by itself.

    Symbols are D (data size, needed), X or N, P, T, M, and any other name that stands in an expression. Raises TableError.
    """
    if not isinstance(factors, dict):
        pairs = [p.partition("=") for p in split_names(factors)]
        if (not pairs and not wide) or any(not eq or not symbol.strip() or not value.strip() for symbol, eq, value in pairs):
            raise TableError(f"--factors {factors!r}: write symbol=column pairs, e.g. {EXAMPLE}")
        doubled = [a for i, (a, _, _) in enumerate(pairs) if a.strip() in [b.strip() for b, _, _ in pairs[:i]]]
        if doubled:
            raise TableError(f"--factors: {doubled[0]} stands there twice")
        factors = {a.strip(): b.strip() for a, _, b in pairs}
    wrong = [s for s in factors if not re.fullmatch(r"[A-Za-z_]\w*", str(s))]
    if wrong:
        raise TableError(f"--factors {wrong[0]}={factors[wrong[0]]}: a symbol is a name of letters and digits: D (data size), X (the other factor), or N, P, T where there are several")
    if wide:
        if wide in factors:
            raise TableError(f"--wide {wide}: {wide} is in the headers of the columns, so --factors cannot name a column for it too")
        factors = {**factors, wide: wide}
    if "D" not in factors and not {"N", "M"} <= set(factors):  # tokens per parameter and parameters are a data size
        raise TableError(f"--factors: D (the column of the data size) is missing, e.g. {EXAMPLE}")
    if "X" in factors and "N" in factors:
        raise TableError("--factors: X and N both name the size factor; with several factors use N, P and T")
    if len(set(factors.values())) < len(factors):
        raise TableError("--factors: two symbols name the same column")
    return factors


def parse_wide(text: str) -> tuple[str, float, float]:
    """(symbol, lowest, highest) from `D` (every column whose header is a number) or `D=200:1638400` (those within)."""
    symbol, equals, span = str(text).partition("=")
    low, colon, high = span.partition(":")
    try:
        ends = (float(low or 0), float(high or "inf")) if colon else (0.0, math.inf)
    except ValueError:
        ends = (1.0, 0.0)
    if not re.fullmatch(r"[A-Za-z_]\w*", symbol.strip()) or bool(equals) != bool(colon) or not ends[0] <= ends[1]:
        raise TableError(f"--wide {text}: write the symbol whose values are the headers, as in --wide D, or with their range, as in --wide D=200:1638400")
    return symbol.strip(), *ends


def is_expression(text: str) -> bool:
    """Whether a form is written out (it holds an operator or a parenthesis) rather than named."""
    return any(o in text for o in OPERATORS)


def parse_forms(forms) -> list[str]:
    """Forms in order: names, or expressions, from a list or a text; a text without operators is a list of names, "a,b"."""
    out = []
    for text in [forms] if isinstance(forms, str) else list(forms or []):
        if not isinstance(text, str):
            raise TableError(f"--forms {text!r}: a form is a name or an expression, as text")
        out += [text.strip()] if is_expression(text) else split_names(text)
    return list(dict.fromkeys(out))


def parse_shared(shared, groups=()) -> dict[str, list[str]]:
    """{"E": ["factor", "method"]} from a dict or from "beta=factor,E=factor+method"; a group column may stand for `task`. Raises TableError."""
    if not isinstance(shared, dict):
        pairs = [p.partition("=") for p in split_names(shared)]
        wrong = [p for p in pairs if not p[1] or not p[0].strip() or not p[2].strip()]
        if wrong:
            raise TableError(f"--shared {shared!r}: write parameter=dimension pairs, as in beta=factor,E=factor+method; dimensions are {', '.join(DIMENSIONS)}")
        shared = {a.strip(): [d.strip() for d in b.split("+")] for a, _, b in pairs}
    out = {}
    others = [g for g in groups if g != "method"]
    for name, dims in shared.items():
        dims = split_names(dims)
        mapped = ["task" if d in others and len(others) == 1 else d for d in dims]
        wrong = [d for d in mapped if d not in DIMENSIONS]
        if wrong:
            more = f"; of several group columns none can be shared across alone: `task` is all of {', '.join(others)}" if wrong[0] in others else ""
            raise TableError(f"--shared {name}={'+'.join(dims)}: {wrong[0]!r} is not one of {', '.join(DIMENSIONS)}{more}")
        out[name] = list(dict.fromkeys(mapped))
    return out


def parse_bounds(bounds) -> dict[str, list[float]]:
    """{"E": [0, 2]} from a dict or from "E=0:2,alpha=0:" (an end left out is no bound). Raises TableError."""
    if isinstance(bounds, dict):
        return bounds
    out = {}
    for part in split_names(bounds):
        name, equals, span = part.partition("=")
        low, colon, high = span.partition(":")
        try:
            ends = [float(low) if low.strip() else -math.inf, float(high) if high.strip() else math.inf]
        except ValueError:
            ends = [math.nan, math.nan]
        if not equals or not name.strip() or not colon or not ends[0] < ends[1]:
            raise TableError(f"--bounds {part!r}: write parameter=low:high with low below high, as in E=0:2,alpha=0:1")
        out[name.strip()] = ends
    return out


def parse_delta(value):
    """--delta as a number or `auto`; raises TableError."""
    if value in (None, "auto"):
        return "auto"
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if isinstance(value, bool) or not (found > 0 and math.isfinite(found)):
        raise TableError(f"--delta {value!r}: write a positive number or auto")
    return found


def parse_rule(text: str) -> tuple[str, str, str]:
    """(column or symbol, comparison, value) from `D>100000` or `family=T5`; raises TableError."""
    found = COMPARISON.match(str(text))
    if not found:
        raise TableError(f"--hold-out {text!r}: write a comparison of a column, as in 'D>100000' or 'family=T5' (in quotes); comparisons are < <= > >= = !=")
    name, sign, value = found.groups()
    return name, {"==": "="}.get(sign, sign), value.strip("'\"")


def proposal(raw: Raw) -> str:
    """What to write for a table whose columns were not named: its columns, and the command as it may look."""
    numeric, headers = [], [h for h in raw.header if _header_number(h)]
    for name, values in zip(raw.header, raw.columns):
        try:
            raw.numbers(name)
            numeric.append(name)
        except TableError:
            continue
    said = f"Say which column is what; the columns are {names(raw.header)}."
    if len(headers) == len(raw.header):
        return f"{said} The first row must hold the names of the columns, but it holds numbers."
    text = [n for n in raw.header if n not in numeric]
    group = f" --group {_quoted(text[0])}" if text and len(set(map(str, raw.column(text[0])))) < len(raw.lines) else ""
    if len(headers) >= 3:
        label = _quoted(text[0] if text else next(h for h in raw.header if h not in headers))
        return f"{said} It looks wide (a column a data size), which this reads: tunelaw fit {_quoted(raw.source)} --wide D --group {label}"
    used: set[str] = set()
    size, data, loss = (_guess(numeric, words, used) for words in (SIZE_WORDS, DATA_WORDS, LOSS_WORDS))
    factors = ",".join(f"{s}={c}" for s, c in (("X", size), ("D", data or "COLUMN")) if c)
    return f"{said} For example, if these are the right ones: tunelaw fit {_quoted(raw.source)} --factors {_quoted(factors)} --response {_quoted(loss or 'COLUMN')}{group}"


def _guess(numeric: list[str], words, used: set[str]) -> str | None:
    for word in words:
        for name in numeric:
            if word in name.lower() and name not in used:
                used.add(name)
                return name
    return None


def _quoted(word: str) -> str:
    return f'"{word}"' if re.search(r"[^\w.,=/-]", word) else word


def _header_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


__all__ = [
    "is_expression", "names", "near", "parse_bounds", "parse_delta", "parse_factors", "parse_forms", "parse_rule", "parse_shared", "parse_wide",
    "proposal", "split_names",
]  # fmt: skip
