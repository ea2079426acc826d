"""What in the points of a law, or in its fit, makes it doubtful: a response that turns, an exponent of the wrong sign, a ridge, a misfit."""

from __future__ import annotations

import numpy as np

from laws.explanations import note

RIDGE = 0.99  # correlation of two parameters, factors centred, from which neither is known alone
TURN = 0.005  # a rise or fall below this share of the response is never called one
TURN_WITHOUT_SEEDS = 0.01  # nor below this share where no cell has two seeds
LEVEL = 0.05  # of the test for a turn, over all pairs of points of a law
MISFIT = 0.01  # of the test for a misfit
MISFIT_SHARE = 0.005  # a misfit below this share of the response is not called one
FAR = 10.0  # times the usual distance from the law (its median, as a standard deviation) from which a point is an outlier
FAR_SHARE = 0.05  # and at least this share of the response
CHECKED = 5000  # cells up to which a law is searched for turns


def of_law(q, entry: dict) -> list[dict]:
    """All doubts of a law that was fitted."""
    return [*turns(q), *rises(q, entry), *ridge(q, entry), *misfit(q), *outliers(q)]


def turns(q) -> list[dict]:
    """NON_MONOTONE where, all else equal, the response clearly falls with the data and clearly rises too.

    Clearly: more than noise would show once in twenty laws (the standard errors of both points, Bonferroni over all pairs), and more
    than half a per cent of the response; without seeds one per cent.
    """
    cells = q.fitted + q.held
    if len(cells) > CHECKED or q.data not in q.symbols.values():
        return []
    others = [c for c in q.symbols.values() if c != q.data]
    levels: dict[tuple, list] = {}
    for c in cells:
        levels.setdefault(tuple(c.factors[o] for o in others), []).append(c)
    pairs = sum(len(v) * (len(v) - 1) // 2 for v in levels.values())
    if not pairs:
        return []
    from scipy.special import ndtri  # scipy is slow to import: only where it is needed

    z = float(-ndtri(LEVEL / 2 / pairs))
    found = []
    for level, own in levels.items():
        own = sorted(own, key=lambda c: c.factors[q.data])
        y = np.array([c.mean for c in own])
        noise = np.array([c.se or 0.0 for c in own])
        step = y[None, :] - y[:, None]  # [i, j]: from point i to point j
        size = np.abs(y[None, :] + y[:, None]) / 2
        limit = np.where((noise[None, :] > 0) & (noise[:, None] > 0), np.maximum(z * np.hypot(noise[None, :], noise[:, None]), TURN * size), TURN_WITHOUT_SEEDS * size)
        d = np.array([c.factors[q.data] for c in own])
        later = d[None, :] > d[:, None]
        up, down = later & (step > limit), later & (step < -limit)
        if up.any() and down.any():
            i, j = np.unravel_index(np.argmax(np.where(up, step, -np.inf)), step.shape)
            found.append((float(step[i, j]), level, float(d[i]), float(d[j])))
    if not found:
        return []
    rise, level, start, end = max(found)
    where = ", ".join(f"{o} {v:.6g}" for o, v in zip(others, level))
    message = f"{q.response} falls and rises again with {q.data}" + (f" at {where}" if where else "") + f": by {rise:.3g} from {start:,.6g} to {end:,.6g}"
    return [note("NON_MONOTONE", message + (f", and at {len(found) - 1} more levels" if len(found) > 1 else ""), rise=rise, start=start, end=end, levels=len(found))]


def rises(q, entry: dict) -> list[dict]:
    """RISES where the whole interval of an exponent lies below zero: the law then grows without end with that factor."""
    out = []
    exponents = {e: s for term in q.form.terms for s, e in term.powers}
    for name, symbol in exponents.items():
        p = entry["parameters"][name]
        forgetting = q.response == "pretraining_loss" and symbol == "D"  # what finetuning costs grows with it
        if p["high"] is not None and p["high"] < 0 and not forgetting:
            column = q.symbols[symbol]
            out.append(note("RISES", f"{q.response} rises with {column} ({name} {p['value']:.4g}, at most {p['high']:.4g}): the law grows without end", parameter=name, factor=column))
    return out


def ridge(q, entry: dict) -> list[dict]:
    """RIDGE for the two parameters whose estimates go together most, where their correlation is beyond .99."""
    names, matrix = inner_covariance(q, entry)
    if len(names) < 2:
        return []
    deviation = np.sqrt(np.maximum(np.diag(matrix), 0.0))  # what rounding leaves of a variance may be below zero
    with np.errstate(invalid="ignore", divide="ignore"):
        r = matrix / deviation[:, None] / deviation[None, :]
    r[~np.isfinite(r)] = 0.0
    np.fill_diagonal(r, 0.0)
    i, j = np.unravel_index(np.argmax(np.abs(r)), r.shape)
    if abs(r[i, j]) <= RIDGE:
        return []
    first, second = names[min(i, j)], names[max(i, j)]
    value = float(np.clip(r[i, j], -1, 1))
    return [note("RIDGE", f"{first} and {second} go together (correlation {value:.4f}): the points know a combination of them, neither alone", parameters=[first, second], correlation=value)]


def inner_covariance(q, entry: dict) -> tuple[list[str], np.ndarray]:
    """(names, covariance) of a law's parameters with factors divided by their geometric mean, scale parameters in logs.

    In the user's units A and alpha always go together, only because a factor of 1 lies far from the data; what is left here is a real ridge.
    Parameters on a bound are left out.
    """
    given = entry["covariance"]
    if not given:
        return [], np.zeros((0, 0))
    full = np.array([[np.nan if v is None else v for v in row] for row in given["matrix"]], float)
    keep = [i for i in range(len(full)) if np.isfinite(full[i, i]) and full[i, i] > 0]
    logged = [given["names"][i].startswith("log ") for i in keep]
    names = [given["names"][i].removeprefix("log ") for i in keep]
    matrix = full[np.ix_(keep, keep)]
    value = {n: p["value"] for n, p in entry["parameters"].items()}
    centre = {s: float(np.mean(np.log(v))) for s, v in q.factors(q.fitted).items() if np.all(v > 0)}
    turn = np.eye(len(names))
    for i, name in enumerate(names):
        unit = {k: c for k, c in q.form.units.get(name, {}).items() if k[0] in centre}
        if not unit or value[name] <= 0:
            continue
        if not logged[i]:
            turn[i, i] = 1 / value[name]
        for (symbol, exponents), coefficient in unit.items():
            for e in exponents:
                if e in names:
                    rest = np.prod([value[o] for o in exponents if o != e])
                    turn[i, names.index(e)] -= coefficient * centre[symbol] * rest
    out = turn @ matrix @ turn.T
    return (names, out) if np.all(np.isfinite(out)) else ([], np.zeros((0, 0)))


def misfit(q) -> list[dict]:
    """MISFIT where the points lie further from the law than the noise between seeds explains (F test, p < .01) and than half a per cent."""
    if not q.fitted or any(not c.se for c in q.fitted) or len(q.fitted) > CHECKED:
        return []
    seen, se = np.array([c.mean for c in q.fitted]), np.array([c.se for c in q.fitted])
    free, noise_df = len(seen) - len(q.form.parameters), sum(c.count - 1 for c in q.fitted)
    if free < 1 or noise_df < 1:
        return []
    away = q.predict(q.fitted) - seen
    share = float(np.sqrt(np.mean((away / seen) ** 2)))
    ratio = float(np.sum((away / se) ** 2)) / free
    from scipy.special import fdtrc

    p = float(fdtrc(free, noise_df, ratio))
    if p >= MISFIT or share <= MISFIT_SHARE:
        return []
    return [note("MISFIT", f"the points lie {share:.2%} from the law, {np.sqrt(ratio):.3g} times what the noise between seeds explains: {q.form.name} is not the form of these data", share=share, p=p)]


def outliers(q) -> list[dict]:
    """OUTLIERS for points that lie ten times further from the law than points usually do, and by more than 5 % of the response."""
    seen = np.array([c.mean for c in q.fitted])
    share = np.abs(q.predict(q.fitted) / seen - 1)
    far = np.flatnonzero((share > FAR * 1.4826 * np.median(share)) & (share > FAR_SHARE))
    if not len(far):
        return []
    worst = q.fitted[far[np.argmax(share[far])]]
    where = ", ".join(f"{column} {worst.factors[column]:,.6g}" for column in q.symbols.values())
    message = f"{len(far)} of {len(seen)} points lie far from the law, the furthest ({q.response} {worst.mean:.6g}) at {where}"
    return [note("OUTLIERS", message, points=len(far), seen=float(worst.mean), at={c: float(worst.factors[c]) for c in q.symbols.values()})]
