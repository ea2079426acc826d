"""The catalogue of law forms: what each one says, its parameters, its bounds, its source and how many points it needs.

A new form is one `register(...)`: a sum of terms (`Form`), or any expression (`laws.expression.parse`).
"""

from __future__ import annotations

from dataclasses import replace

from laws.expression import parse
from laws.form import EXPONENT_BOUND, EXTRA_POINTS, Form, Term

__all__ = ["EXPONENT_BOUND", "EXTRA_POINTS", "FORMS", "Form", "Term", "all_factors", "form_of", "register"]

FORMS: dict[str, Form] = {}


def register(form: Form) -> Form:
    """Add a form to the catalogue; a name is taken once."""
    if form.name in FORMS:
        raise ValueError(f"a law form named {form.name!r} is already registered")
    FORMS[form.name] = form
    return form


def define(name: str, expression: str, source: str, columns: tuple[str, ...] = (), bounds: dict[str, tuple[float, float]] | None = None, extra: int = EXTRA_POINTS) -> Form:
    """Add a form by its expression; `columns` are measured columns that stand in it, beside X N P T D M."""
    return register(replace(parse(expression, columns, bounds), name=name, source=source, extra_points=extra))


define("power", "A * D**-beta + E", "single factor; Zhang et al. 2024, section 3")
define("multiplicative", "A * X**-alpha * D**-beta + E", "Zhang et al. 2024 (arXiv 2402.17193), Eq. 1")
define("additive", "A * X**-alpha + B * D**-beta + E", "Hoffmann et al. 2022 (arXiv 2203.15556), Eq. 2")
define("rectified", "B / (D0 + D**beta) + E", "Lin et al. 2024 (arXiv 2402.02314), Eq. 3; D0: what pretraining already knew", bounds={"beta": (0.0, 10.0)})
define("offset", "A * (D + D0)**-alpha + E", "Lin et al. 2025 (arXiv 2507.21184), found by search on finetuning curves")
define("vanilla", "(B / D**beta + E)**alpha", "baseline of Lin et al. 2024 (arXiv 2402.02314)", bounds={"alpha": (0.0, 100.0), "beta": (0.0, 10.0)})
define("overtraining", "A * N**-eta + B * (M * N)**-eta + E", "Gadre et al. 2024 (arXiv 2403.08540), Eq. 4, there fitted to 5 runs; M: tokens per parameter", extra=1)
define("forgetting", "L0 + A * D**beta / ((1 + B * p) * N)**alpha + E", "Bethune et al. 2025 (arXiv 2502.06042); L0: loss before finetuning, p: replayed share", ("L0", "p"))
define("metric", "log(A * D**alpha)**beta", "Isik et al. 2025 (arXiv 2402.04177), Eq. 1; for BLEU, which grows with data", bounds={"beta": (0.0, 50.0)})

_ALL = (("N", "alpha"), ("P", "gamma"), ("T", "tau"), ("D", "beta"))


def all_factors(symbols: tuple[str, ...] | list[str]) -> Form:
    """The multiplicative law of every factor that varies: `A * N**-alpha * P**-gamma * D**-beta + E` and T where it varies."""
    powers = tuple(pair for pair in _ALL if pair[0] in symbols or pair[0] == "D")
    expression = " * ".join(["A"] + [f"{s}**-{e}" for s, e in powers]) + " + E"
    return Form("all_factors", expression, (Term("A", powers), Term("E")), "Zhang et al. 2024, Eq. 1, with every factor at once")


register(all_factors(("N", "P")))


def form_of(entry: dict) -> Form:
    """The form of an entry of laws.json."""
    if entry["form"] == "all_factors":
        return all_factors(tuple(entry["symbols"]))
    if entry["form"] in FORMS:
        return FORMS[entry["form"]]
    return replace(parse(entry["expression"], entry["symbols"], entry.get("bounds")), name=entry["form"])
