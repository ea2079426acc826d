"""study.yaml to plan: reads, checks, expands, prices. No JAX here, and nothing of the other rooms."""

from compiler import counts
from compiler.diagnostics import Problem, StudyError
from compiler.explanations import EXPLAIN
from compiler.identity import canonical_json, job_key
from compiler.plan import compile_plan, plan_text
from compiler.resolve import resolve, winners
from compiler.study import Study, check, load_study

__all__ = [
    "EXPLAIN", "Problem", "Study", "StudyError", "canonical_json", "check", "compile_plan", "counts", "job_key",
    "load_study", "plan_text", "resolve", "winners",
]
