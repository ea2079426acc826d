"""Runs the blocks of docs/python.md and writes what they print below them: python docs/_python.py."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
PAGE = DOCS / "python.md"
PAIR = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(text: str, keep: Path | None = None) -> list[tuple[str, str, str]]:
    """(code, what the page says it prints, what it printed) of each block, run one after the other in a folder of their own."""
    found, names = [], {}
    home = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(DOCS / "examples", Path(folder) / "examples")
        os.chdir(folder)
        try:
            for code, said in PAIR.findall(text):
                out = io.StringIO()
                with contextlib.redirect_stdout(out):
                    exec(compile(code, str(PAGE), "exec"), names)
                found.append((code, said, "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())))
            if keep is not None:
                shutil.copy("laws.svg", keep)
        finally:
            os.chdir(home)
    return found


def rewritten(text: str, blocks: list[tuple[str, str, str]]) -> str:
    """The page with what its blocks printed."""
    for code, said, printed in blocks:
        text = text.replace(f"```python\n{code}```\n\n```text\n{said}```", f"```python\n{code}```\n\n```text\n{printed}```", 1)
    return text


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(rewritten(page, run(page, DOCS / "figures" / "python-laws.svg")), encoding="utf-8")
    print(PAGE)
