"""The catalogue of law forms: what each one says, its parameters, its bounds, its source and how many points it needs.

A new form is one `register(...)`: a sum of terms (`Form`), or any expression (`laws.expression.parse`).
"""

from __future__ import annotations

from laws.form import EXPONENT_BOUND, EXTRA_POINTS, Form, Term

__all__ = ["EXPONENT_BOUND", "EXTRA_POINTS", "FORMS", "Form", "Term", "all_factors", "form_of", "register"]

FORMS: dict[str, Form] = {}


def register(form: Form) -> Form:
    """Add a form to the catalogue; a name is taken once."""
    if form.name in FORMS:
        raise ValueError(f"a law form named {form.name!r} is already registered")
    FORMS[form.name] = form
    return form


_D = ("D", "beta")
register(Form("power", "A * D**-beta + E", (Term("A", (_D,)), Term("E")), "single factor; Zhang et al. 2024, section 3"))
register(
    Form(
        "multiplicative",
        "A * X**-alpha * D**-beta + E",
        (Term("A", (("X", "alpha"), _D)), Term("E")),
        "Zhang et al. 2024 (arXiv 2402.17193), Eq. 1",
    )
)
register(
    Form(
        "additive",
        "A * X**-alpha + B * D**-beta + E",
        (Term("A", (("X", "alpha"),)), Term("B", (_D,)), Term("E")),
        "Hoffmann et al. 2022 (arXiv 2203.15556), Eq. 2",
    )
)

_ALL = (("N", "alpha"), ("P", "gamma"), ("T", "tau"), _D)


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
    return FORMS[entry["form"]]
