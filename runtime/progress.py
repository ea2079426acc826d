"""The pace of a run: seconds a job of each kind takes, learnt from finished ones, and the time that is left."""

from __future__ import annotations


class Pace:
    """Seconds of a job as `a * jobs + b * flops`, one pair for each kind, by least squares over finished jobs."""

    def __init__(self):
        self.seen: dict[str, list[tuple[float, float]]] = {}

    def learn(self, job: dict, record: dict | None) -> None:
        """Takes in a finished job: its planned FLOPs and its measured wall seconds."""
        if record is not None:
            point = (float(job["cost"]["flops"]), float(record["run"]["seconds"]))
            self.seen.setdefault(job["kind"], []).append(point)

    def rate(self, kind: str) -> tuple[float, float] | None:
        """(seconds a job, seconds a FLOP) of `kind`, both at least 0; None before one of its kind was seen."""
        points = self.seen.get(kind)
        if not points:
            return None
        count = len(points)
        flops = [f for f, _ in points]
        mean_f, mean_s = sum(flops) / count, sum(s for _, s in points) / count
        spread = sum((f - mean_f) ** 2 for f in flops)
        if mean_f <= 0:
            return mean_s, 0.0
        if count >= 4 and spread > 0:
            slope = sum((f - mean_f) * (s - mean_s) for f, s in points) / spread
            fixed = mean_s - slope * mean_f
            if slope > 0 and fixed >= 0:
                return fixed, slope
        return 0.0, mean_s / mean_f

    def seconds(self, job: dict) -> float | None:
        """Expected seconds of `job`; of a kind not seen yet, from the pace of all training kinds together."""
        rate = self.rate(job["kind"])
        flops = float(job["cost"]["flops"])
        if rate is None:
            trained = [point for kind in ("pretrain", "finetune", "evaluate") for point in self.seen.get(kind, [])]
            total = sum(f for f, _ in trained)
            if total <= 0:
                return None if flops > 0 else 0.0
            return flops * sum(s for _, s in trained) / total
        return rate[0] + rate[1] * flops

    def left(self, jobs: list[dict], shares: dict[str, float], workers: int) -> float | None:
        """Seconds until `jobs` are done on `workers`; `shares` says how much of a running job lies behind it.

        At least the longest single job; None where nothing measured says how fast this machine is.
        """
        each = []
        for job in jobs:
            seconds = self.seconds(job)
            if seconds is None:
                return None
            each.append(seconds * (1.0 - min(1.0, shares.get(job["name"], 0.0))))
        if not each:
            return 0.0
        return max(sum(each) / workers, max(each))
