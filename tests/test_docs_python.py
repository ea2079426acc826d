"""docs/python.md and README are true: their blocks and commands run, and print what the page says, numbers to 0.5 %."""

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*\.?\d*(?:e[+-]?\d+)?")


def module(name):
    place = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    made = importlib.util.module_from_spec(place)
    place.loader.exec_module(made)
    return made


def words(text):
    """The text without its numbers and without the width of its columns."""
    return " ".join(NUMBER.sub("#", text).split())


def numbers(text):
    return [float(found.replace(",", "")) for found in NUMBER.findall(text) if any(c.isdigit() for c in found)]


def differs(said, printed):
    """What of a printed text is not as the page says; empty if all is."""
    if words(said) != words(printed):
        return f"the page says\n{said}\nprinted was\n{printed}"
    off = [(a, b) for a, b in zip(numbers(said), numbers(printed)) if a != pytest.approx(b, rel=5e-3, abs=2e-4)]
    return f"other numbers: {off}\n{printed}" if off else ""


@pytest.fixture(scope="module")
def page():
    return (DOCS / "python.md").read_text(encoding="utf-8")


def test_blocks_print_what_the_page_says(page):
    blocks = module("_python").run(page)
    assert len(blocks) >= 6 and len(blocks) == page.count("```python")
    for code, said, printed in blocks:
        assert said.strip() and not differs(said, printed), f"{code}\n{differs(said, printed)}\nif that is right: python docs/_python.py"


def test_commands_of_the_readme_print_what_it_says():
    blocks = module("_python").commands((DOCS.parent / "README.md").read_text(encoding="utf-8"))
    assert blocks and blocks[0][0].count("$ tunelaw") >= 4
    for said, printed in blocks:
        assert not differs(said, printed), f"{differs(said, printed)}\nif that is right: python docs/_python.py"


def test_the_test_of_output_can_fail():
    assert not differs("beta 0.2000 [0.1, 1,000]", "beta 0.2001 [0.1, 1,001]")
    assert differs("beta 0.2", "beta 0.22") and differs("beta 0.2", "alpha 0.2") and differs("NO_SEEDS", "")


def test_the_example_table_is_what_it_is_said_to_be():
    maker = module("_runs")
    assert (DOCS / "examples" / "runs.csv").read_text(encoding="utf-8") == maker.text()
