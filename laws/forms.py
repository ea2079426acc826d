"""The catalogue of law forms: what each one says, its parameters, its bounds and how many points it needs.

A form is a sum of terms; a term is a linear parameter (>= 0) times powers of factors. A new form of that kind is one `register(...)`;
a form of another kind subclasses `Form` and overrides `basis`, `slope` and `to_user`.

Array legend of this room: S starts or draws, N points, L linear parameters, P exponents, Q = L + P.
Symbols: X the law's factor, N model size, P pretraining tokens, T trained adapter parameters, D finetuning examples.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

EXPONENT_BOUND = 10.0  # |exponent|; signed, so that an interval can hold zero
EXTRA_POINTS = 3  # a law needs its parameters plus this many points


@dataclass(frozen=True)
class Term:
    """One summand: the linear parameter's name and (symbol, exponent name) pairs; no pairs is a constant."""

    linear: str
    powers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Form:
    """A law form. `parameters` is the order in which values, draws and covariances are kept."""

    name: str
    expression: str
    terms: tuple[Term, ...]
    source: str
    bounds: dict[str, tuple[float, float]] = field(default_factory=dict, compare=False)

    @property
    def linear(self) -> tuple[str, ...]:
        """Names of the linear parameters, each >= 0."""
        return tuple(term.linear for term in self.terms)

    @property
    def exponents(self) -> tuple[str, ...]:
        """Names of the exponents, each signed."""
        seen: dict[str, None] = {}
        for term in self.terms:
            for _, exponent in term.powers:
                seen.setdefault(exponent)
        return tuple(seen)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Factor symbols that stand in the expression, D last."""
        seen: dict[str, None] = {}
        for term in self.terms:
            for symbol, _ in term.powers:
                seen.setdefault(symbol)
        return tuple(sorted(seen, key=lambda s: s == "D"))

    @property
    def parameters(self) -> tuple[str, ...]:
        """All parameter names: linear ones but the last constant, exponents, the constant."""
        constant = [t.linear for t in self.terms if not t.powers]
        return tuple(n for n in self.linear if n not in constant) + self.exponents + tuple(constant)

    @property
    def minimum(self) -> int:
        """The fewest points that this form is fitted to."""
        return len(self.parameters) + EXTRA_POINTS

    def bound(self, name: str) -> tuple[float, float]:
        """Lower and upper bound of a parameter in the user's units."""
        if name in self.bounds:
            return self.bounds[name]
        return (0.0, float("inf")) if name in self.linear else (-EXPONENT_BOUND, EXPONENT_BOUND)

    def basis(self, theta_SP: np.ndarray, logs: dict[str, np.ndarray]) -> np.ndarray:
        """The terms without their linear parameters, [S, N, L], from centred log factors {symbol: [N]}."""
        count = len(next(iter(logs.values())))
        phi_SNL = np.ones((len(theta_SP), count, len(self.terms)))
        index = {name: i for i, name in enumerate(self.exponents)}
        for k, term in enumerate(self.terms):
            if term.powers:
                power = sum(theta_SP[:, index[e], None] * logs[s][None, :] for s, e in term.powers)
                phi_SNL[:, :, k] = np.exp(-power)
        return phi_SNL

    def slope(self, phi_SNL: np.ndarray, linear_SL: np.ndarray, logs: dict[str, np.ndarray]) -> np.ndarray:
        """Derivative of the prediction by each exponent, [S, N, P]."""
        index = {name: i for i, name in enumerate(self.exponents)}
        out_SNP = np.zeros(phi_SNL.shape[:2] + (len(index),))
        for k, term in enumerate(self.terms):
            for symbol, exponent in term.powers:
                out_SNP[:, :, index[exponent]] -= linear_SL[:, k, None] * phi_SNL[:, :, k] * logs[symbol][None, :]
        return out_SNP

    def to_user(self, linear_SL: np.ndarray, theta_SP: np.ndarray, centres: dict[str, float]) -> np.ndarray:
        """Parameters in the user's units, [S, parameters], from those of the centred factors (centres: mean logs)."""
        index = {name: i for i, name in enumerate(self.exponents)}
        values: dict[str, np.ndarray] = {name: theta_SP[:, i] for name, i in index.items()}
        for k, term in enumerate(self.terms):
            shift = sum((theta_SP[:, index[e]] * centres[s] for s, e in term.powers), np.zeros(len(theta_SP)))
            with np.errstate(over="ignore", divide="ignore"):
                values[term.linear] = np.where(linear_SL[:, k] > 0, np.exp(np.log(linear_SL[:, k]) + shift), 0.0)
        return np.stack([values[name] for name in self.parameters], axis=1)

    def value(self, parameters_SQ: np.ndarray, factors: dict[str, np.ndarray]) -> np.ndarray:
        """The law itself, [S, N]: parameters in the user's units, factors {symbol: [N]} in the user's units."""
        where = {name: i for i, name in enumerate(self.parameters)}
        logs = {s: np.log(np.asarray(v, float)) for s, v in factors.items()}
        count = len(next(iter(logs.values())))
        total = np.zeros((len(parameters_SQ), count))
        for term in self.terms:
            with np.errstate(divide="ignore", over="ignore"):
                power = np.log(parameters_SQ[:, where[term.linear], None]) + np.zeros((1, count))
                for symbol, exponent in term.powers:
                    power = power - parameters_SQ[:, where[exponent], None] * logs[symbol][None, :]
                total = total + np.exp(power)
        return total


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
