"""What every warning and refusal of the laws means: the words of `tunelaw help ID`, and the one way to make a warning."""

from __future__ import annotations

EXPLAIN = {
    "LR_EDGE": "The best learning rate of a sweep is the smallest or largest of its grid: a better one may lie outside. Sweep wider.",
    "LR_VARIES": "The corners of the design chose learning rates more than one grid step apart; rates between them are interpolated.",
    "LR_FROZEN": "This factor varied while the learning rate stayed: its exponent may be the optimiser's. Sweep with `per`.",
    "BUDGET_LIMITED": "Twice the steps lowered the loss clearly: beta and E also describe the step budget, not only the data.",
    "WORSE_THAN_BASE": "In some cells the method never beat the untouched base model; those points lie on the base's loss.",
    "BOUND_REACHED": "A parameter lies on its bound (A, B or E at zero): the form is not fully determined by these points.",
    "INTERVAL_HOLDS_ZERO": "The interval of an exponent holds zero: the data do not show that this factor matters.",
    "RANKING_REVERSES": "As the data grow without end two laws rank the methods the other way round than in the data.",
    "FEW_LEVELS": "A factor has fewer than four fitted values (D fewer than three): its exponent describes, it does not extrapolate.",
    "NO_HELD_OUT": "No cell was held out: how well this law extrapolates is not known.",
    "NO_SEEDS": "No cell has two seeds: noise is unknown, weights are equal and differences are judged by .01 nats alone.",
    "SHARED_SUBSETS": "The training pool is smaller than four times the largest D: the seeds' subsets overlap, intervals are too narrow.",
    "DIVERGED_CELLS": "Some runs diverged; their rows were left out.",
    "MISSING_CELLS": "Some rows have no value of the response; they were left out.",
    "ZERO_DATA": "Rows without data (D zero) were left out of the laws.",
    "MISSING_FACTOR": "Some rows have an empty or zero factor; they were left out of its laws.",
    "NOT_SEPARABLE": "A law with its own A and beta at each level fits clearly better: the factors do not act independently.",
    "NOT_CONVERGED": "The fit did not settle within its rounds.",
    "STARTS_DISAGREE": "Fewer than half of the starts came to the best objective; the fit may depend on where it starts.",
    "FACTOR_NOT_VARIED": "A factor was asked for but has one value only: no law of it.",
    "MISSING_GROUP": "Some rows have no value in a group column; they form a group of their own, without a name.",
    "POOLED_ROWS": "Rows with the same factors and group differ in a column that nobody named; they were taken as seeds of one cell.",
    "COLUMN_IGNORED": "A column whose name tunelaw knows holds something else than the name says; it was not used.",
    # why a law or a comparison was refused
    "TOO_FEW_POINTS": "Refused: fewer fitted cells than parameters plus three. Add cells, or ask for a form with fewer parameters.",
    "TOO_FEW_LEVELS": "Refused: fewer than three fitted values of X, or two of D. Add levels of this factor to a grid, or hold out less.",
    "CONSTANT_RESPONSE": "Refused: the response is the same in every fitted cell. Sweep smaller learning rates, allow more steps.",
    "NOT_POSITIVE": "Refused: a cell's response is zero or negative; the laws describe losses. Check the table.",
    "NO_COMMON_DATA": "Refused: two methods have no data size in common at this level. Give them a common grid.",
    "NO_COMMON_COST": "Refused: the FLOPs that two methods were given do not overlap at this level. Give them data sizes that cost the same.",
    "NO_LAW": "Refused: two methods have no form in common that could be fitted. See why their laws were refused.",
    "OUT_OF_RANGE": "Refused: the data of two methods lie more than three times apart. Give them a common grid.",
}


def note(name: str, message: str, **more) -> dict:
    """One warning; the name must be in the catalogue."""
    if name not in EXPLAIN:
        raise KeyError(name)
    return {"id": name, "message": message, **more}
