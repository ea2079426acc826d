"""Noise that several cells share: the luck of a base model (each is one pretraining run) and the luck of a data subset (one seed's, nested in size).

Cells of one base stand or fall together, and so do cells at one data size that were finetuned on the same subset; nested subsets go together
across data sizes too. Both are estimated as variance components: the subset's from the deviations between seeds, which no misfit of the law
can touch, or where cells have one seed from what the residuals of one data size have in common; the base's from the residuals.
Multiplicative updates for the likelihood keep every component at zero or above (Zhou et al. 2019, "MM algorithms for variance components").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ADAPTER = ("rank", "prompt_length", "peft_parameters")  # settings that leave the base model as it is
OWN_DATA = ("finetuning_tokens",)
ITERATIONS = 150
MOST_LEVELS = 400  # of bases and data sizes together: beyond, shared noise is not looked for
NEGLIGIBLE = 1e-3  # share of the noise variance below which a component is taken as absent
LEAST_OWN = 0.2  # a point's own noise is never taken below this share of the residual variance
DOUBT = 0.05  # p-value below which base effects are spoken of


@dataclass
class Layout:
    """Which base and which data size each fitted point has, and the seeds behind it; `values` are logarithms where the fit's residuals are."""

    base: np.ndarray  # [N] index of the base
    size: np.ndarray  # [N] index into `sizes`
    sizes: np.ndarray  # the data sizes
    setting: np.ndarray  # [N] index of the setting: points of single rows may share one
    seeds: list[list[str]]
    values: list[np.ndarray]

    @property
    def bases(self) -> int:
        """How many base models there are."""
        return int(self.base.max()) + 1


def base_of(cell, data: str) -> tuple:
    """What tells base models apart: the study's `base`, or every setting of a cell but its data and its adapter."""
    if getattr(cell, "base", ""):
        return (cell.base,)
    words = tuple(str(part[1]) for part in cell.key[3:] if part[0] == 2)
    return (words, tuple((n, v) for n, v in sorted(cell.factors.items()) if n not in (data, *ADAPTER, *OWN_DATA) and v == v))


def layout_of(cells: list, data: str, log: bool) -> Layout:
    """The layout of cells in their order."""
    index = lambda keys: np.unique(np.array([repr(k) for k in keys]), return_inverse=True)[1]  # noqa: E731
    sizes, size = np.unique([c.factors.get(data, 0.0) for c in cells], return_inverse=True)
    bases = [(c.task, *base_of(c, data)) for c in cells]
    settings = [(c.task, c.method, tuple(sorted((n, v) for n, v in c.factors.items() if v == v)), base_of(c, data)) for c in cells]
    values = [np.log(c.values) if log and np.all(c.values > 0) else np.asarray(c.values, float) for c in cells]
    return Layout(index(bases), size, sizes, index(settings), [list(c.seeds) for c in cells], values)


@dataclass
class Shared:
    """Shared noise of the fitted points: of subsets by data size, and of bases.

    `subset` [sizes, sizes] is the covariance of the mean over seeds at each data size; `parts` are its components with weights and the
    covariance of their estimates, so that a variance can say how well it is known. `base` is the variance between base models.
    """

    layout: Layout
    subset: np.ndarray
    parts: list[np.ndarray]
    parts_covariance: np.ndarray
    base: float
    base_p: float | None
    known: bool  # whether seeds tell subset effects
    own: float = 1.0  # share of the residual variance that is a point's own, where subset effects were found in the residuals

    def variance(self, influence_N: np.ndarray) -> tuple[float, float]:
        """(variance that subset effects give to an estimate with this influence of each point, variance of that variance)."""
        by_size = np.bincount(self.layout.size, influence_N, len(self.layout.sizes))
        amounts = np.array([by_size @ part @ by_size for part in self.parts])
        return float(by_size @ self.subset @ by_size), float(amounts @ self.parts_covariance @ amounts)

    def base_variance(self, influence_N: np.ndarray) -> float:
        """The variance that new base models would add to an estimate."""
        return float(self.base * np.sum(np.bincount(self.layout.base, influence_N) ** 2))


def estimate(layout: Layout, r_N: np.ndarray, root_N: np.ndarray, jacobian_NQ: np.ndarray, sigma: float) -> Shared:
    """Shared noise from residuals `r_N` (in the response's unit), root weights and the derivative of the law by its free parameters.

    `sigma` is the deviation of a weight-1 residual.
    """
    none = np.zeros((len(layout.sizes),) * 2)
    out = Shared(layout, none, [], np.zeros((0, 0)), 0.0, None, False)
    if layout.bases + len(layout.sizes) > MOST_LEVELS or sigma <= 0:
        return out
    seeds = _seed_means(layout)
    if seeds is not None:
        _from_seeds(out, layout, *seeds)
    _from_residuals(out, np.clip(r_N * root_N, -4 * sigma, 4 * sigma), root_N, jacobian_NQ, sigma)
    if out.parts and not out.known:  # seeds' deviations leave the residual variance as it is: counting a little twice keeps what few seeds say on the safe side
        out.own = float(np.clip(1 - _expected_squares(out, root_N, jacobian_NQ) / sigma**2, LEAST_OWN, 1.0))
    return out


def _expected_squares(out: Shared, root_N, jacobian_NQ) -> float:
    """How much subset effects raise the mean square of weighted residuals."""
    z = np.zeros((len(root_N), len(out.layout.sizes)))
    z[np.arange(len(root_N)), out.layout.size] = root_N
    basis = _basis(jacobian_NQ * root_N[:, None])
    z -= basis @ (basis.T @ z)
    return float(np.sum((z.T @ z) * out.subset)) / max(1, len(root_N) - basis.shape[1])


def _basis(j) -> np.ndarray:
    """Orthonormal columns that span those of j."""
    basis, values, _ = np.linalg.svd(j / (np.sqrt(np.sum(j**2, axis=0)) + 1e-300), full_matrices=False)
    return basis[:, values > 1e-10 * values[0]]


def kernels(sizes: np.ndarray) -> list[np.ndarray]:
    """How luck may go together across data sizes: one for all; nested subsets, evenly lucky or averaging out; each size for itself."""
    small, large = np.minimum.outer(sizes, sizes), np.maximum.outer(sizes, sizes)
    return [np.ones_like(small), np.sqrt(small / large), sizes.min() / large, np.eye(len(sizes))]


def _seed_means(layout: Layout):
    """(deviation of each seed's mean at each data size [seeds, sizes], settings behind each size, variance of a single run, its degrees of freedom).

    None where fewer than two seeds stand at every data size.
    """
    runs: dict[int, dict[str, list[float]]] = {}
    size_of: dict[int, int] = {}
    for setting, size, seeds, values in zip(layout.setting, layout.size, layout.seeds, layout.values):
        own = runs.setdefault(int(setting), {})
        size_of[int(setting)] = int(size)
        for seed, value in zip(seeds, values):
            if seed:
                own.setdefault(seed, []).append(float(value))
    common = None
    for own in runs.values():
        common = set(own) if common is None else common & set(own)
    if common is None or len(common) < 2:
        return None
    names = sorted(common)
    groups = sorted(runs)
    table = np.array([[np.mean(runs[g][s]) for s in names] for g in groups])
    table -= table.mean(axis=1, keepdims=True)
    at = np.array([size_of[g] for g in groups])
    count = np.bincount(at, minlength=len(layout.sizes)).astype(float)
    means = np.array([np.bincount(at, table[:, s], len(layout.sizes)) / count for s in range(len(names))])
    rest = table - means[:, at].T
    df = float(np.sum(count - 1) * (len(names) - 1))
    return means, count, (float(np.sum(rest**2)) / df if df > 0 else 0.0), df


def _from_seeds(out: Shared, layout: Layout, means_KD, count_D, single: float, df: float) -> None:
    """Subset effects from the deviations between seeds: the likelihood of their means at each data size, and of single runs around them."""
    seeds, sizes = means_KD.shape
    free = seeds - 1
    scatter = means_KD.T @ means_KD
    parts = kernels(layout.sizes)
    if df <= 0:  # nothing tells a subset's luck at one size from a run's: only what goes together across sizes is shared
        parts = parts[:-1]
    own = np.diag(1 / count_D)
    if sizes < 2 or not np.any(scatter):
        return
    out.known = True
    total = float(np.trace(scatter)) / free / sizes
    weight = np.full(len(parts) + 1, total / (len(parts) + 1))
    if df > 0:
        weight[-1] = max(single, 1e-12 * total)
    everything = [*parts, own]
    for _ in range(ITERATIONS):
        inverse = np.linalg.pinv(sum(w * k for w, k in zip(weight, everything)), hermitian=True)
        middle = inverse @ scatter @ inverse
        pull = np.array([np.sum(middle * k) for k in everything])
        push = np.array([free * np.sum(inverse * k) for k in everything])
        pull[-1] += df * single / weight[-1] ** 2
        push[-1] += df / weight[-1]
        new = weight * np.sqrt(np.maximum(pull, 0) / np.maximum(push, 1e-300))
        still = np.max(np.abs(new - weight)) < 1e-4 * np.sum(weight)
        weight = np.maximum(new, 1e-14 * total)
        if still:
            break
    noise = weight[-1] / float(np.mean(count_D))
    kept = [i for i in range(len(parts)) if weight[i] > NEGLIGIBLE * noise]
    inverse = np.linalg.pinv(sum(w * k for w, k in zip(weight, everything)), hermitian=True)
    which = [*kept, len(parts)]
    information = np.array([[0.5 * free * np.sum((inverse @ everything[a] @ inverse) * everything[b]) for b in which] for a in which])
    information[-1, -1] += 0.5 * df / weight[-1] ** 2
    spread = np.linalg.pinv(information, hermitian=True)[:-1, :-1]
    out.parts = [parts[i] / seeds for i in kept]
    out.parts_covariance = spread
    out.subset = sum((weight[i] * parts[i] / seeds for i in kept), np.zeros((sizes, sizes)))


def _from_residuals(out: Shared, r_N, root_N, jacobian_NQ, sigma: float) -> None:
    """Base effects, and where no seeds tell, what the residuals of one data size have in common: restricted maximum likelihood."""
    layout = out.layout
    points, bases, sizes = len(r_N), layout.bases, len(layout.sizes)
    z_base = np.zeros((points, bases))
    z_base[np.arange(points), layout.base] = root_N
    blocks = []
    if 1 < bases < points:
        blocks.append(("base", z_base))
    shared_sizes = np.bincount(layout.size) > 1
    j = jacobian_NQ * root_N[:, None]
    beside = j
    if bases > 1 and sizes > 1 and np.mean(shared_sizes) > 0.5:
        z_size = np.zeros((points, sizes))
        z_size[np.arange(points), layout.size] = root_N
        blocks.append(("size", z_size))
        beside = np.concatenate([j, z_size], axis=1)  # luck that all bases share at one data size is no difference between bases
    if not blocks or points <= j.shape[1] + 1:
        return
    out.base_p = _common(z_base, beside, r_N) if bases > 1 else None
    found = _variances([z for _, z in blocks], j, r_N, sigma)
    if found is None:
        return
    weights, spread = found
    for i, (name, z) in enumerate(blocks):
        if weights[i] <= NEGLIGIBLE * weights[-1] / np.mean(np.sum(z**2, axis=0)):
            continue
        if name == "base":
            out.base = float(weights[i])
        elif not out.known:
            out.parts = [np.eye(sizes)]
            out.parts_covariance = spread[i : i + 1, i : i + 1]
            out.subset = weights[i] * np.eye(sizes)


def _common(z, j, r) -> float | None:
    """p-value of the F test that the columns of z explain nothing of r beyond j."""
    from scipy.special import fdtrc

    basis = _basis(j)
    rest = r - basis @ (basis.T @ r)
    more = z - basis @ (basis.T @ z)
    extra, values, _ = np.linalg.svd(more, full_matrices=False)
    extra = extra[:, values > 1e-6 * np.sqrt(np.max(np.sum(z**2, axis=0)))]
    one, two = extra.shape[1], len(r) - basis.shape[1] - extra.shape[1]
    gain = float(np.sum((extra.T @ rest) ** 2))
    left = float(rest @ rest) - gain
    if one < 1 or two < 1 or left <= 0:
        return None
    return float(fdtrc(one, two, gain / one / (left / two)))


def _variances(blocks: list[np.ndarray], j, r, sigma: float):
    """(variances of the blocks and of a weight-1 residual, covariance of these estimates) by restricted maximum likelihood from cross products."""
    basis = _basis(j)
    z = np.concatenate(blocks, axis=1)
    z, r = z - basis @ (basis.T @ z), r - basis @ (basis.T @ r)  # what the law leaves over: residual contrasts
    ends = np.cumsum([0] + [b.shape[1] for b in blocks])
    zz, zr, rr, df = z.T @ z, z.T @ r, float(r @ r), len(r) - basis.shape[1]
    if df < 2 or rr <= 0:
        return None
    weight = np.array([0.5 * sigma**2 / max(np.mean(np.sum(b**2, axis=0)), 1e-300) for b in blocks] + [sigma**2])
    eye = np.eye(len(zz))
    for _ in range(ITERATIONS):
        g = np.repeat(weight[:-1], np.diff(ends))
        noise = weight[-1]
        inner = np.linalg.solve(noise * eye + g[:, None] * zz, np.diag(g))
        pz = (zz - zz @ inner @ zz) / noise
        pr = (zr - zz @ inner @ zr) / noise
        rpr = (rr - zr @ inner @ zr) / noise
        push = np.array([np.trace(pz[a:b, a:b]) for a, b in zip(ends, ends[1:])])
        pull = np.array([np.sum(pr[a:b] ** 2) for a, b in zip(ends, ends[1:])])
        last_push = (df - weight[:-1] @ push) / noise
        last_pull = max(rpr - weight[:-1] @ pull, 0.0) / noise
        new = weight * np.sqrt(np.append(pull, last_pull) / np.maximum(np.append(push, last_push), 1e-300))
        still = np.max(np.abs(new - weight) / np.maximum(weight, 1e-6 * noise)) < 1e-3
        weight = np.maximum(new, 1e-14 * noise)
        if still:
            break
    count = len(blocks)
    information = np.zeros((count, count))
    for a in range(count):
        for b in range(count):
            information[a, b] = 0.5 * np.sum(pz[ends[a] : ends[a + 1], ends[b] : ends[b + 1]] ** 2)
    kept = np.flatnonzero(weight[:-1] > 1e-10 * weight[-1])
    spread = np.zeros((count, count))
    if len(kept):
        spread[np.ix_(kept, kept)] = np.linalg.pinv(information[np.ix_(kept, kept)], hermitian=True)
    return weight, spread
