"""What the law engine is timed against, each answering one JSON line: the package `chinchilla`, and a plain SciPy loop over many starts.

    python benchmarks/law_peers.py chinchilla|scipy|bootstrap TABLE.json FRACTION

TABLE.json holds lists N, D, loss, and for `bootstrap` the best parameters. Only a stated fraction of the starts or resamples is run; seconds are
CPU seconds of one core, scaled to the whole, so that other programs on the machine count for neither side.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
import time

import numpy as np

DELTA = 1e-3
STARTS, RESAMPLES, CHINCHILLA_STARTS = 4500, 4000, 3125


def main() -> None:
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    name, path, fraction = sys.argv[1:4]
    with open(path, encoding="utf-8") as file:
        table = json.load(file)
    data = [np.array(table[k]) for k in ("N", "D", "loss")]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    answer = {"chinchilla": chinchilla, "scipy": scipy_starts, "bootstrap": scipy_bootstrap}[name](*data, float(fraction), table)
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def cost(p, log_n, log_d, log_y):
    """The published objective: the sum of Huber losses of log residuals; p = (a, b, e, alpha, beta), A = exp(a) and so on."""
    from scipy.special import huber, logsumexp

    terms = np.stack([p[0] - p[3] * log_n, p[1] - p[4] * log_d, np.full_like(log_n, p[2])])
    return np.sum(huber(DELTA, logsumexp(terms, axis=0) - log_y))


def scipy_starts(n, d, y, fraction, table) -> dict:
    """The published notebooks' loop: 4,500 starts of a grid, each an L-BFGS run with numeric derivatives."""
    from scipy.optimize import minimize

    grid = list(itertools.product(np.arange(0, 30, 5), np.arange(0, 30, 5), np.arange(-1, 1.5, 0.5), np.arange(0, 2.5, 0.5), np.arange(0, 2.5, 0.5)))
    chosen = np.random.default_rng(0).permutation(len(grid))[: round(fraction * STARTS)]
    logs = np.log(n), np.log(d), np.log(y)
    best, start = np.inf, time.process_time()
    for k in chosen:
        best = min(best, minimize(cost, grid[k], args=logs, method="L-BFGS-B").fun)
    return {"seconds": (time.process_time() - start) / len(chosen) * STARTS, "objective": best, "ran": len(chosen), "of": STARTS}


def scipy_bootstrap(n, d, y, fraction, table) -> dict:
    """4,000 resamples of the points, each one L-BFGS run from the best fit."""
    from scipy.optimize import minimize

    rng, out, start = np.random.default_rng(0), [], time.process_time()
    count = round(fraction * RESAMPLES)
    for _ in range(count):
        rows = rng.integers(0, len(n), len(n))
        out.append(minimize(cost, table["best"], args=(np.log(n[rows]), np.log(d[rows]), np.log(y[rows])), method="L-BFGS-B").fun)
    return {"seconds": (time.process_time() - start) / count * RESAMPLES, "objective": float(np.mean(out)), "ran": count, "of": RESAMPLES}


def chinchilla(n, d, y, fraction, table) -> dict:
    """The package's own fit on a grid of 5 values a parameter, with its log-Huber loss; a fraction has fewer values a parameter."""
    from importlib import metadata

    from chinchilla import Chinchilla
    from chinchilla._metrics import log_huber

    points = max(2, round((fraction * CHINCHILLA_STARTS) ** 0.2))
    spread = {"E": (0.5, 2.5), "a": (2.0, 20.0), "b": (2.0, 20.0), "alpha": (0.1, 0.7), "beta": (0.1, 0.7)}
    grid = {k: np.linspace(*v, points).tolist() for k, v in spread.items()}
    with tempfile.TemporaryDirectory() as folder:
        model = Chinchilla(folder, param_grid=grid, loss_fn=lambda seen, predicted: log_huber(seen, predicted, DELTA), log_level=50)
        for row in zip(n, d, y):
            model.append(N=row[0], D=row[1], C=6 * row[0] * row[1], loss=row[2])
        model.visualizer.optim = lambda *args, **kwargs: None  # its plot is not part of the fit
        start = time.process_time()
        model.fit(parallel=False)
        seconds = time.process_time() - start
    p = [float(v) for v in (np.log(model.A), np.log(model.B), np.log(model.E), model.alpha, model.beta)]
    return {"seconds": seconds / points**5 * CHINCHILLA_STARTS, "objective": float(cost(p, np.log(n), np.log(d), np.log(y))), "ran": points**5, "of": CHINCHILLA_STARTS, "version": metadata.version("chinchilla")}


if __name__ == "__main__":
    main()
