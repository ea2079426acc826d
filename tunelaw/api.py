"""The Python API: the same steps as the command line, with pandas in and out where it is installed."""

from __future__ import annotations

from pathlib import Path

from tunelaw import studies


class Study:
    """A study that was read and checked. `warnings` are its problems that do not stop it."""

    def __init__(self, loaded: studies.Loaded, store: str | None = None):
        self._loaded, self._store = loaded, store
        self.name = loaded.name
        self.warnings = loaded.warnings

    def plan(self) -> dict:
        """The plan, as in plan.json: jobs with keys, costs and what they need."""
        return self._loaded.plan

    def run(self, out=None, engine: str | None = None, workers: int | str | None = None) -> "Results":
        """Executes what is missing, fits and reports. Raises KeyboardInterrupt where Ctrl-C stopped it."""
        from tunelaw import errors, running

        folder = studies.out_folder(out, self.name)
        root = studies.store_root(self._store)
        finished = running.run(self._loaded.plan, folder, root, self._loaded.data_roots, engine, workers)
        if finished.status == errors.INTERRUPTED:
            raise KeyboardInterrupt(f"{self.name}: stopped; run it again to go on")
        return Results(folder, finished.status)


class Results:
    """A results folder. `status` is the exit status that the command line would give."""

    def __init__(self, folder: Path, status: int):
        self.folder, self.status = Path(folder), status

    @property
    def laws(self):
        """The fitted laws, with their bootstrap draws."""
        import laws

        return laws.load(self.folder)

    @property
    def table(self):
        """results.csv as a pandas DataFrame; pandas must be installed."""
        import pandas

        return pandas.read_csv(self.folder / "results.csv")


def load(path, data=(), store=None, **changes) -> Study:
    """Reads the study (or plan.json) at `path`.

    data: roots of its data paths; store: where jobs live; `changes` are keys of the study with `__` for
    the dots, as `design__seeds=3`. Raises `compiler.StudyError` with every mistake at its place.
    """
    import json

    overrides = [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in changes.items()]
    roots = [data] if isinstance(data, (str, Path)) else list(data)
    return Study(studies.load(path, roots, overrides), store)


def fit(table, factors=None, response=None, group=None, **options):
    """Fits laws to a run folder, a table file or a pandas DataFrame; returns what laws.json holds.

    Without `factors` a run folder (or its results.csv) is fitted as its plan asks. With `factors`
    ({symbol: column}) the table is foreign: `response` and `group` name its columns, and `forms`,
    `residual` and `delta` may be given. Nothing is written: `laws.write(fitted, folder)` does.
    """
    import laws

    if factors is not None:
        return laws.fit_foreign(table, factors=factors, response=response, group=group, **options)
    from tunelaw import fitting

    home = Path(table)
    folder = home if home.is_dir() else home.parent
    request = fitting.request_of(folder) or None
    return laws.fit_table(laws.read_table(home), request, trials=laws.read_trials(home), provenance=fitting.provenance_of(folder))


def report(folder, out=None):
    """Builds report.html, report.md and report.json of a results folder; returns what report.json holds."""
    import reports

    return reports.build(Path(folder), Path(out) if out else None)
