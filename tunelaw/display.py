"""What a run shows while it runs: a live table in a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter

PLAIN_EVERY = 5.0  # seconds between two plain lines
LIVE_PER_SECOND = 4


def duration(seconds: float | None) -> str:
    """Seconds in words: `8 s`, `3 min 20 s`, `2 h 05 min`; `not known yet` for None."""
    if seconds is None:
        return "not known yet"
    seconds = int(round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def rounded(seconds: float | None) -> str:
    """An estimate without false digits: `about 2 min 20 s`."""
    if seconds is None:
        return "time left not known yet"
    step = 1 if seconds < 20 else 5 if seconds < 90 else 10 if seconds < 600 else 60
    return f"about {duration(round(seconds / step) * step)} left"


def failure_line(job: str, why: str, log: str) -> str:
    """One failed job; an error that begins with the job's own name does not say it twice."""
    return f"failed: {job}: {why.removeprefix(f'{job}: ')} (log: {log})"


def running_line(name: str, event: dict | None) -> str:
    """One running job: name, phase, step, loss, tokens a second, as far as it has told them."""
    words = [name]
    event = event or {}
    if event.get("phase"):
        words.append(str(event["phase"]))
    if event.get("steps"):
        words.append(f"step {event['step']:,}/{event['steps']:,}")
    if event.get("loss") is not None:
        words.append(f"loss {event['loss']:.3f}")
    if event.get("tokens_per_second"):
        words.append(f"{event['tokens_per_second']:,.0f} tokens/s")
    return "  ".join(words)


class Display:
    """Told of every event of a driver; shows them. Use it as a context manager around the run."""

    def __init__(self, study: str, stream=None, live: bool | None = None):
        self.study, self.stream = study, stream or sys.stderr
        self.is_live = self.stream.isatty() and os.environ.get("TERM") != "dumb" if live is None else live
        self.driver = None
        self.start = self.last = time.monotonic()
        self.live = None
        self.busy_with_others: set[str] = set()
        self.warnings: Counter[str] = Counter()

    def __enter__(self):
        if self.is_live:
            from rich.console import Console
            from rich.live import Live

            self.console = Console(file=self.stream)
            self.live = Live(
                console=self.console, get_renderable=self._table, refresh_per_second=LIVE_PER_SECOND,
                transient=True, redirect_stdout=False, redirect_stderr=False,
            )
            self.live.__enter__()
        return self

    def __exit__(self, *failure):
        if self.live is not None:
            self.live.__exit__(*failure)
            self.live = None
        for name, count in self.warnings.items():
            if count > 1:
                self.say(f"warning[{name}]: {count} jobs; `tunelaw help {name}` says what it means")

    def watch(self, driver) -> None:
        """Names the driver whose state is shown."""
        self.driver = driver

    def tell(self, event: dict) -> None:
        """Takes one event of the driver."""
        kind = event["event"]
        if kind == "failed":
            self.say(failure_line(event["job"], event["message"], event["log"]))
        elif kind == "lost":
            self.say(f"{event['job']}: {event['reason']}; it is tried once more")
        elif kind == "waiting" and event["job"] not in self.busy_with_others:
            self.busy_with_others.add(event["job"])
            self.say(f"{event['job']}: another run works on it; waiting for its result")
        elif kind == "stopping":
            if event["gently"] and event["running"]:
                self.say(f"stopping: {event['running']} running job(s) save their state first; Ctrl-C again stops at once")
            elif not event["gently"]:
                self.say("stopping at once")
        elif kind == "end":
            for warning in event["record"]["run"]["warnings"]:
                self.warnings[warning["id"]] += 1
                if self.warnings[warning["id"]] == 1:  # the laws and the report name every cell; here one is enough
                    self.say(f"warning[{warning['id']}]: {event['job']}: {warning['message']}; others like it are counted at the end")
        if self.live is None and kind in ("tick", "end") and time.monotonic() - self.last >= PLAIN_EVERY:
            self.say(self.summary())
            for name in self.driver.running:
                self.say("    " + running_line(name, self.driver.progress.get(name)))

    def say(self, line: str) -> None:
        """Prints one line above the live display, or plainly."""
        if self.live is not None:
            self.live.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            self.last = time.monotonic()
            print(line, file=self.stream, flush=True)

    def summary(self) -> str:
        """How far the run is, in one line."""
        driver = self.driver
        done, total, running = len(driver.done), len(driver.jobs), len(driver.running)
        left = total - done - running - len(driver.outcome.failed)
        words = [f"{self.study}: {done} of {total} jobs done, {running} running, {left} left"]
        if driver.outcome.failed:
            words.append(f"{len(driver.outcome.failed)} failed")
        words.append(f"{duration(time.monotonic() - self.start)} gone")
        words.append(rounded(driver.seconds_left()))
        return ", ".join(words)

    def _table(self):
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        if self.driver is None:
            return Text(f"{self.study}: starting")
        table = Table.grid(padding=(0, 2))
        for name in list(self.driver.running):
            event = self.driver.progress.get(name) or {}
            steps, loss, speed = event.get("steps"), event.get("loss"), event.get("tokens_per_second")
            table.add_row(
                Text("  " + name, overflow="ellipsis", no_wrap=True),
                Text(str(event.get("phase") or "starting")),
                Text(f"{event['step']:,}/{steps:,}" if steps else ""),
                Text(f"loss {loss:.3f}" if loss is not None else ""),
                Text(f"{speed:,.0f} tokens/s" if speed else ""),
            )
        bar = ProgressBar(total=max(1, len(self.driver.jobs)), completed=len(self.driver.done), width=40)
        return Group(Text(self.summary()), bar, table)
