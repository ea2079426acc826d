"""From a study file or a plan file to a plan, with the places where its data is looked up."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from tunelaw.errors import CommandError

MEASURED = (  # columns of results.csv that can stand in an expression
    "model_parameters", "non_embedding_parameters", "pretraining_tokens", "finetuning_examples", "finetuning_tokens", "peft_parameters", "rank",
    "prompt_length", "learning_rate", "untuned_loss", "pretraining_loss_before", "steps", "epochs", "flops",
)  # fmt: skip


@dataclass
class Loaded:
    """A plan, the study that it was compiled from (None for a plan file), and where its data lies."""

    plan: dict
    data_roots: list[Path]
    study: object = None
    warnings: list = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.plan["study"]


def load(path: str | Path, data=(), overrides=()) -> Loaded:
    """Compiles the study at `path`, or reads the plan where it is a .json file.

    Raises `compiler.StudyError` with every mistake at its place, CommandError for a plan that cannot be used.
    """
    path = Path(path)
    roots = [Path(root).absolute() for root in data]
    for root in roots:
        if not root.is_dir():
            raise CommandError(f"--data {root}: there is no such folder")
    if path.suffix == ".json":
        if overrides:
            raise CommandError("--set changes a study; a plan file is run as it stands")
        return Loaded(read_plan(path), [*roots, Path.cwd()])
    import compiler

    study = compiler.load_study(path, roots, overrides)
    plan = compiler.compile_plan(study)
    check_forms(path, plan["laws"])
    return Loaded(plan, [*roots, path.absolute().parent], study, list(study.warnings))


def check_forms(path: Path, request: dict) -> None:
    """Raises CommandError for an expression that cannot be read: a study must not find out after its runs."""
    from laws.expression import ExpressionError, parse
    from laws.options import is_expression

    for form in request["forms"]:
        if is_expression(form):
            try:
                parse(form, columns=MEASURED)
            except ExpressionError as error:
                raise CommandError(f"{path}: laws.forms: {error}") from None


def read_plan(path: Path) -> dict:
    """A plan file, checked against its schema and its own keys."""
    import jsonschema

    import schemas
    from compiler.identity import is_pending, job_key

    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CommandError(f"{path}: there is no such file") from None
    except ValueError as error:
        raise CommandError(f"{path}: not JSON ({error}); `tunelaw plan SPEC -o {path}` writes it") from None
    validator = jsonschema.Draft202012Validator(schemas.load("plan"))
    error = next(iter(sorted(validator.iter_errors(plan), key=lambda e: list(map(str, e.path)))), None)
    if error is not None:
        place = "/".join(map(str, error.path)) or "the plan"
        raise CommandError(f"{path}: {place}: {error.message[:300]}; `tunelaw plan SPEC -o {path}` writes it anew")
    for job in plan["jobs"]:
        if job["key"] is not None and (is_pending(job["identity"]) or job_key(job["identity"]) != job["key"]):
            raise CommandError(f"{path}: {job['name']}: its identity was edited (it does not give the key {job['key']}); plan the study anew", 4)
    return plan


def store_root(option: str | None) -> Path:
    """`--store`, else $TUNELAW_STORE, else .tunelaw in the current folder."""
    return Path(option or os.environ.get("TUNELAW_STORE") or ".tunelaw").expanduser().absolute()


def out_folder(option: str | None, name: str) -> Path:
    """`--out`, else runs/<study>."""
    return Path(option) if option else Path("runs") / name


def last_plan(out: Path) -> dict | None:
    """The plan of the last run into this folder, or None."""
    try:
        return json.loads((out / "plan.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
