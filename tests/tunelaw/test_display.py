"""What a run says while it runs, where it is no terminal: plain lines, few, and nothing lost."""

import io
from types import SimpleNamespace

import pytest

from tunelaw import display
from tunelaw.display import Display, duration, failure_line, rounded, running_line


@pytest.mark.parametrize("seconds,text", [(0.4, "0 s"), (59, "59 s"), (61, "1 min 01 s"), (3599, "59 min 59 s"), (7500, "2 h 05 min"), (None, "not known yet")])
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize("seconds,text", [(7.4, "about 7 s left"), (83, "about 1 min 25 s left"), (437, "about 7 min 20 s left"), (None, "time left not known yet")])
def test_estimates_have_no_false_digits(seconds, text):
    assert rounded(seconds) == text


def test_running_line_shows_what_is_known():
    assert running_line("a", None) == "a"
    event = {"phase": "train", "step": 10, "steps": 2000, "loss": 1.23456, "tokens_per_second": 45210.4}
    assert running_line("a", event) == "a  train  step 10/2,000  loss 1.235  45,210 tokens/s"


@pytest.fixture
def shown(monkeypatch):
    """A display on a stream that is no terminal, its clock in the test's hands."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(display.time, "monotonic", lambda: clock.now)
    stream = io.StringIO()
    made = Display("study", stream=stream)
    made.watch(SimpleNamespace(
        jobs=dict.fromkeys("abcd"), done={"a"}, running={"b": {}}, progress={"b": {"loss": 2.0}},
        outcome=SimpleNamespace(failed={"c": "no"}), seconds_left=lambda: 90.0,
    ))  # fmt: skip
    made.stream_text, made.clock = stream.getvalue, clock
    return made


def test_plain_lines_come_seldom(shown):
    with shown:
        for _ in range(100):
            shown.clock.now += 0.2
            shown.tell({"event": "tick"})
    lines = shown.stream_text().splitlines()
    assert lines[0] == "study: 1 of 4 jobs done, 1 running, 1 left, 1 failed, 5 s gone, about 1 min 30 s left"
    assert lines[1] == "    b  loss 2.000" and len(lines) <= 2 * 4
    assert "\x1b" not in shown.stream_text()


def test_failures_are_told_at_once_and_warnings_once(shown):
    record = {"run": {"warnings": [{"id": "WORSE_THAN_BASE", "message": "the base was kept"}]}}
    with shown:
        shown.tell({"event": "failed", "job": "c", "message": "row 3", "log": "/log"})
        for job in "abd":
            shown.tell({"event": "end", "job": job, "state": "done", "record": record})
    lines = shown.stream_text().splitlines()
    assert lines[0] == "failed: c: row 3 (log: /log)"
    assert lines[1].startswith("warning[WORSE_THAN_BASE]: a: the base was kept") and "3 jobs" in lines[-1] and len(lines) == 3


def test_a_failure_names_its_job_once():
    assert failure_line("tokenizer", "tokenizer: the text fills 90 pieces", "/log") == "failed: tokenizer: the text fills 90 pieces (log: /log)"
    assert failure_line("a", "tokenizer: short", "/log") == "failed: a: tokenizer: short (log: /log)"
