"""Laws: from a table of results to fitted scaling laws, their intervals and crossings. NumPy and SciPy only."""

from laws.choice import Extrapolation, extrapolate
from laws.correlate import correlation
from laws.engine import fit_table
from laws.explanations import ADVICE, EXPLAIN, WHEN
from laws.foreign import fit_foreign
from laws.forms import FORMS, Form, Term, register
from laws.options import parse_factors
from laws.predict import LawError, Laws, Prediction, load, predict, predict_draws, write
from laws.table import Table, TableError, read_table, read_trials

__all__ = [
    "ADVICE", "EXPLAIN", "Extrapolation", "FORMS", "Form", "LawError", "Laws", "Prediction", "Table", "TableError", "Term", "WHEN", "correlation", "extrapolate", "fit_foreign", "fit_table",
    "load", "parse_factors", "predict", "predict_draws", "read_table", "read_trials", "register", "write",
]  # fmt: skip
