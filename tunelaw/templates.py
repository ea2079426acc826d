"""`tunelaw new`: a commented study to start from, and the schema that lets an editor complete it."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from tunelaw.errors import CommandError

TEMPLATES = {"quickstart": "quickstart.yaml", "files": "templates/files.yaml"}


def write(path: Path, template: str) -> list[Path]:
    """Writes the study to `path` (a .yaml file, or a folder that gets study.yaml) and its schema beside it.

    Never overwrites a study; returns the paths written.
    """
    if path.suffix not in (".yaml", ".yml"):
        path = path / "study.yaml"
    if path.exists():
        raise CommandError(f"{path} exists already; name a new file")
    text = resources.files("specs").joinpath(TEMPLATES[template]).read_text(encoding="utf-8")
    text = re.sub(r"(yaml-language-server: \$schema=)\S+", r"\1study.schema.json", text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    schema = path.parent / "study.schema.json"
    schema.write_text(resources.files("schemas").joinpath("study.schema.json").read_text(encoding="utf-8"), encoding="utf-8")
    return [path, schema]
