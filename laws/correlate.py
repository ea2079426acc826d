"""Does a lower loss mean a better score: Pearson and Spearman of test loss against each metric, for every task and method."""

from __future__ import annotations

import warnings

import numpy as np

from laws.table import Table, as_table

NOT_METRICS = {"loss"}


def correlation(table: Table) -> list[dict]:
    """[{task, method, metric, cells, pearson: {r, p}, spearman: {r, p}}] over rows with both; null where fewer than three differ.

    `method: all` pools the finetuned methods of a task.
    """
    table = as_table(table)
    loss = table.numbers("test_loss")
    metrics = [n for n in table.columns if "." in n and table[n].dtype.kind == "f" and n.split(".")[-1].split("@")[0] not in NOT_METRICS]
    task, method, status = table.words("task"), table.words("method"), table.words("status")
    fine = np.array([s in ("", "ok") for s in status]) & np.isfinite(loss) & (method != "none")
    out = []
    for t in sorted(set(task[fine])):
        for m in sorted(set(method[fine & (task == t)])) + ["all"]:
            for metric in metrics:
                rows = fine & (task == t) & np.isfinite(table[metric]) & ((method == m) | (m == "all"))
                if rows.any():
                    out.append({"task": t, "method": m, "metric": metric, "rows": int(rows.sum()), **_both(loss[rows], table[metric][rows])})
    return out


def _both(x, y) -> dict:
    from scipy import stats  # slow to import, and needed here only

    order = np.lexsort((y, x))  # sums in one order, whatever the order of the rows
    x, y = x[order], y[order]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return {"pearson": None, "spearman": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nearly constant input: the result is checked for NaN below
        found = {"pearson": stats.pearsonr(x, y), "spearman": stats.spearmanr(x, y)}
    return {k: {"r": float(v.statistic), "p": float(v.pvalue)} if np.isfinite(v.statistic) and np.isfinite(v.pvalue) else None for k, v in found.items()}
