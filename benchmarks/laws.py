"""Published fits and what this engine reaches on the same data, and its speed against its peers on one core in one run.

    python benchmarks/laws.py [--write] [--peers PYTHON]     data from the folder that TUNELAW_SHARED names

`--peers` is a Python that has the package `chinchilla` (`make bench-laws` makes one). Seconds are CPU seconds of one core, for
both sides. `--write` puts the tables into README.md beside this file, between their markers.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one core for everybody

import argparse
import csv
import datetime
import json
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from benchmarks import coverage  # noqa: E402
from laws.choice import extrapolate  # noqa: E402
from laws.fitting import Law, Procedure, fit_system  # noqa: E402
from laws.forms import FORMS  # noqa: E402
from laws.solve import huber  # noqa: E402
from laws.system import Block, System  # noqa: E402

LARGEST = 1_638_400
DATASETS = ("flan", "gigaword", "wmt19")
DELTA = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/README.md")
    parser.add_argument("--peers", default=sys.executable, help="a Python with the package chinchilla (default: this one)")
    parser.add_argument("--fraction", type=float, default=0.04, help="share of the peers' starts and resamples that is run (default .04); 1 runs all")
    parser.add_argument("--studies", type=int, default=240, help="synthetic studies of the paper's laws (default 240; the 2,000 are in docs/coverage.md)")
    options = parser.parse_args()
    shared = os.environ.get("TUNELAW_SHARED")
    if not shared or not (Path(shared) / "data/laws").is_dir():
        raise SystemExit("TUNELAW_SHARED must name the folder that holds data/laws")
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    data = Path(shared) / "data/laws"
    rows = [*rectified(data), *extrapolation(data), *overtraining(data), *recovery(data, options.studies)]
    where = f"One core of {processor()}; Python {platform.python_version()}, numpy {np.__version__}, scipy {metadata.version('scipy')}; {datetime.date.today()}."
    accuracy = table(("data", "published", "reached", "seconds"), rows) + f"\n\n{where}"
    print(accuracy + "\n")
    speed = versus(options) + f"\n\n{where}"
    print(speed)
    if options.write:
        write(accuracy, "laws reached")
        write(speed, "laws speed")


def curves(data: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(sizes [14], losses [30, 14]) of one data set of Lin et al. 2024; size 0 is left out."""
    with open(data / f"rectified/benchmark/{name}.csv", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    return np.array([float(v) for v in head[2:16]]), np.array([[float(v) for v in row[2:16]] for row in rows])


def fit(form: str, factors: dict, y: np.ndarray, delta: float, log: bool):
    """(solution, parameters in the user's units, CPU seconds)."""
    start = time.process_time()
    solution = fit_system(System([Block(form, FORMS[form], factors)]), y, np.ones(len(y)), delta, log)
    user = solution.system.user(solution.linear_L[None], solution.theta_P[None])[0][0]
    return solution, user, time.process_time() - start


def rectified(data: Path):
    """RMSD of log loss over all 14 sizes, mean over the 90 curves; least squares on the log residual."""
    for form, published in (("rectified", ".00797"), ("vanilla", ".03643")):
        errors, seconds = [], []
        for name in DATASETS:
            sizes, losses = curves(data, name)
            for y in losses:
                solution, _, took = fit(form, {"D": sizes}, y, np.inf, True)
                errors.append(np.sqrt(2 * solution.objective / len(y)))
                seconds.append(took)
        yield f"90 finetuning curves (Lin et al. 2024), {form} form, in-sample RMSD of log loss", published, f"{np.mean(errors):.5f}", f"{sum(seconds):.1f} ({1e3 * np.median(seconds):.0f} ms a curve)"


def extrapolation(data: Path):
    """1,638,400 examples from at most 1,638,400 / r, r = 8, 32, 128: Pearson x 100 over 30 models and mean relative error, nine cells."""
    start = time.process_time()
    ours, line, inside = [], [], {0.80: [], 0.95: []}
    scores = {"ours": [], "line": []}
    for name in DATASETS:
        sizes, losses = curves(data, name)
        for r in (8, 32, 128):
            seen = sizes <= LARGEST / r
            truth = losses[:, -1]
            found = extrapolate([(sizes[seen], y[seen]) for y in losses], LARGEST)
            slope = np.log2(losses[:, seen][:, -1] / losses[:, seen][:, -2])
            naive = losses[:, seen][:, -1] * 2 ** (slope * np.log2(r))
            for kind, value in (("ours", found.value[:, 0]), ("line", naive)):
                scores[kind].append((100 * np.corrcoef(value, truth)[0, 1], 100 * np.mean(np.abs(value - truth) / truth)))
            ours.append(np.abs(found.value[:, 0] - truth) / truth)
            line.append(np.abs(naive - truth) / truth)
            for level, hits in inside.items():
                hits.append((found.low[level][:, 0] <= truth) & (truth <= found.high[level][:, 0]))
    seconds = time.process_time() - start
    ours_mean, line_mean = np.mean(scores["ours"], axis=0), np.mean(scores["line"], axis=0)
    # the 30 models of a data set are drawn together over its three cells, as pairs (ours, line)
    gap = 100 * (np.array(ours) - np.array(line)).reshape(3, 3, 30).mean(axis=1)
    rng = np.random.default_rng(0)
    drawn = np.mean([[g[rng.integers(0, 30, 30)].mean() for g in gap] for _ in range(2000)], axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    reached = f"{ours_mean[0]:.1f}, {ours_mean[1]:.2f} %; error less that of the line {gap.mean():+.2f} % [{low:+.2f}, {high:+.2f}]; 80 and 95 % intervals hold {100 * np.mean(inside[0.80]):.0f} and {100 * np.mean(inside[0.95]):.0f} %"
    yield "the same, 1,638,400 examples from at most 1/8, 1/32, 1/128 of them: Pearson x 100, mean relative error", f"accept then stop 85.6, 10.7 %; line through the last two {line_mean[0]:.1f}, {line_mean[1]:.2f} %; a blend 86.3, 8.27 %", reached, f"{seconds:.1f}"


def overtraining(data: Path):
    """Gadre et al. 2024 on RedPajama: 5 runs fitted, relative error of two far ones; least squares on the loss, N with embeddings, M = D / N."""
    with open(data / "overtraining/gadre_runs_tidy.csv", encoding="utf-8") as file:
        runs = [r for r in csv.DictReader(file) if r["train_set"] == "rpj" and r["loss_c4_val"]]
    size, tokens, loss = (np.array([float(r[k]) for r in runs]) for k in ("N", "D", "loss_c4_val"))
    ratio = tokens / size
    fitted = (size < 1e9) & ((np.round(ratio) == 20) | ((size == size.min()) & (np.round(ratio) == 320)))
    _, user, seconds = fit("overtraining", {"N": size[fitted], "M": ratio[fitted]}, loss[fitted], np.inf, False)
    for label, published, near, at in (("1.4B at M = 640", ".7103 %", 1.4e9, 640), ("6.9B at M = 20", ".7320 %", 6.9e9, 20)):
        run = np.flatnonzero((np.abs(size / near - 1) < 0.1) & (np.round(ratio) == at))
        predicted = FORMS["overtraining"].value(user[None], {"N": size[run], "M": ratio[run]})[0]
        error = 100 * np.abs(predicted - loss[run])[0] / loss[run][0]
        yield f"overtraining (Gadre et al. 2024), {fitted.sum()} RedPajama runs fitted, {label}: relative error", published, f"{error:.4f} %".lstrip("0"), f"{seconds:.2f}"


def recovery(data: Path, studies: int):
    """The paper's 24 laws on its grids, noise .005, three seeds: how often the engine's 95 % intervals hold the law that was drawn."""
    laws = coverage.truths(data / "paper/zhang2024_finetuning_law.json")
    start = time.process_time()
    results = [{"law": laws[k % 24].name, **coverage.study(laws[k % 24], coverage.SETTINGS["plain"], k, "plain")} for k in range(studies)]
    found = coverage.summary(results)
    each = ", ".join(f"{n} {found[n]}" for n in ("A", "alpha", "beta", "E"))
    yield f"{studies} synthetic studies of the paper's 24 laws (Zhang et al. 2024): coverage of 95 % intervals", "nominal", f"all {found['all']} %; {each} %", f"{time.process_time() - start:.0f}"


def sample() -> dict:
    """240 points around the additive law as Besiroglu et al. 2024 (arXiv 2404.10102) republished it, with heavy-tailed noise."""
    rng = np.random.default_rng(1)
    n, d = np.exp(rng.uniform(np.log(5e7), np.log(1.6e10), 240)), np.exp(rng.uniform(np.log(1e9), np.log(3e11), 240))
    law = FORMS["additive"].value(np.array([[482.01, 2085.43, 0.3478, 0.3658, 1.8172]]), {"X": n, "D": d})[0]
    return {"N": n, "D": d, "loss": law * np.exp(0.01 * rng.standard_t(3, 240))}


def versus(options) -> str:
    """The table of speed: the peers on a fraction of their work, ours on all of it, one after the other on the same core."""
    points = sample()
    factors, y = {"X": points["N"], "D": points["D"]}, points["loss"]
    law = Law(Block("one", FORMS["additive"], factors), y, np.ones(240), list(range(240)))
    took = []
    for _ in range(3):
        start = time.process_time()
        procedure = Procedure([law], delta=DELTA, log=True)
        values, solution, later = procedure.fit()
        took.append(time.process_time() - start)
    point = float(np.median(took))
    a, b, alpha, beta, e = values["one"]
    rng = np.random.default_rng(0)  # the same resamples as the peer's
    counts = np.array([np.bincount(rng.integers(0, 240, 240), minlength=240) for _ in range(4000)], float)
    start = time.process_time()
    draws = procedure.redo({("first", "one"): y[None]}, {"one": counts}, later)["one"]
    resampling = time.process_time() - start
    losses = huber(np.log(FORMS["additive"].value(draws, factors)) - np.log(y), DELTA)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.json"
        path.write_text(json.dumps({**{k: v.tolist() for k, v in points.items()}, "best": [np.log(a), np.log(b), np.log(e), alpha, beta]}), encoding="utf-8")
        peers = {name: peer(python, name, path, options.fraction) for name, python in (("scipy", sys.executable), ("chinchilla", options.peers), ("bootstrap", sys.executable))}
    rows = []
    for name, label, own in (("scipy", "point fit: SciPy, L-BFGS from 4,500 starts", point), ("chinchilla", "point fit: the package chinchilla, 3,125 starts", point), ("bootstrap", "4,000 resamples: SciPy, one L-BFGS run each", resampling)):
        found = peers[name]
        label += f" {found['version']}" if "version" in found else ""
        reached = np.mean(np.sum(counts * losses, axis=1)[: found["ran"]]) if name == "bootstrap" else solution.objective
        rows.append((label, f"{found['seconds']:.1f} ({found['ran']:,} of {found['of']:,} run)", f"{found['objective']:.9f}", f"{own:.2f}", f"{reached:.9f}", f"{found['seconds'] / own:.0f}"))
    return table(("240 points, additive law, Huber 1e-3 on log loss", "peer: seconds", "objective", "tunelaw: seconds", "objective", "times as fast"), rows)


def peer(python: str, name: str, path: Path, fraction: float) -> dict:
    done = subprocess.run([python, str(HERE / "law_peers.py"), name, str(path), str(fraction)], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the peer {name} ended with status {done.returncode}; its last words are above")
    return json.loads(done.stdout)


def table(head, rows) -> str:
    return "\n".join("| " + " | ".join(r) + " |" for r in [head, ["---"] * len(head), *rows])


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write(text: str, name: str) -> None:
    """Replaces what stands between the markers of `name` in README.md; new markers are put at its end."""
    path = HERE / "README.md"
    page = path.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    block = f"{begin}\n{text}\n{end}"
    if begin in page:
        page = page[: page.index(begin)] + block + page[page.index(end) + len(end) :]
    else:
        page = page.rstrip() + f"\n\n{block}\n"
    path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
