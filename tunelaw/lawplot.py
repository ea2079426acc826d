"""Laws as figures: curve, band and data of one or several laws, as SVG that a notebook shows and a file keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from laws import LawError
from tunelaw.lawset import Law, symbols_of
from tunelaw.lawtext import amount

CURVES = 6  # as many levels of a factor as the figures have styles
PANELS = 24
STEPS = 61


class Plot:
    """A figure as SVG text: `_repr_svg_` for notebooks, `save(path)` for a file."""

    def __init__(self, svg: str):
        self.svg = svg

    def _repr_svg_(self):
        return self.svg

    def save(self, path) -> Path:
        """Writes the SVG file; returns its path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.svg, encoding="utf-8")
        return path

    def __repr__(self):
        return f"<Plot: {len(self.svg):,} characters of SVG; .save('laws.svg') writes it>"


def plot(laws: list[Law], to: float | None = None) -> Plot:
    """The laws as one figure, a panel each: a curve for each level of the other factor, over the data size up to `to`. Raises LawError."""
    from reports.figure import Figure, glyph, standalone

    if len(laws) > PANELS:
        raise LawError(f"{len(laws)} laws are too many for one figure (at most {PANELS}): say which, as in method='lora'")
    names = [[word for word in (law.task, law.method) if word] for law in laws]
    panels, legend, held = [], {}, False
    for law, words in zip(laws, names):
        if law.refused:
            raise LawError(f"{law.name}: refused ({law.refused}): {law.reason}")
        title = ", ".join([*words, law.form, *([law.factor] if len({one.factor for one in laws}) > 1 else [])])
        panels.append(_panel(law, title, to, legend))
        held = held or any(cell["held_out"] for cell in law.entry["cells"])
    entries = [(glyph("method", str(style)), words) for words, style in legend.items()] if len(laws) == 1 else []
    if held:
        entries.append((glyph("held"), "held out: never fitted"))
    if any(law.draws is not None for law in laws):
        entries.append((glyph("band"), "law and 95 % band"))
    response = ", ".join(dict.fromkeys(law.response for law in laws))
    caption = f"{response} against {symbols_of(laws[0])[-1][1]}: fitted laws as curves, data as markers."
    return Plot(standalone(Figure("laws", "", laws[0].name if len(laws) == 1 else f"{response}, {len(laws)} laws", caption, panels, entries)))


def _panel(law: Law, title: str, to, legend: dict):
    """One law's panel; `legend` {words: style} is filled in."""
    from reports.plots import clipped, margin
    from reports.svg import Panel, level_axis, linear_axis

    factors = symbols_of(law)
    along = next((column for symbol, column in factors if symbol == "D"), factors[-1][1])
    other = next((column for symbol, column in factors if column != along), None)
    cells = [cell for cell in law.entry["cells"] if cell.get(along, 0) > 0]
    low, high = law.range[along]
    ends = [low, *(cell[along] for cell in cells), high, *([] if to is None else [float(to)])]
    grid = np.geomspace(min(ends), max(ends), STEPS)
    levels = _levels(law, other)
    middle = {column: float(np.sqrt(law.range[column][0] * law.range[column][1])) for _, column in factors if column not in (along, other)}
    curves = []
    for level in levels:
        at = {along: grid, **middle, **({} if other is None else {other: level})}
        band = None if law.draws is None else law.interval(at)
        curves.append((level, np.broadcast_to(law.predict(at), grid.shape), band))
    values = [v for _, curve, _ in curves for v in curve] + [cell["seen"] for cell in cells]
    x = level_axis(sorted({cell[along] for cell in cells} | {low, high} | ({float(to)} if to else set())), along)
    y = linear_axis([float(v) for v in values if np.isfinite(v)], law.response)
    words = ["" if level is None else f"{other} {amount(level)}" for level in levels]
    ends_words = ["" if level is None else amount(level) for level in levels]
    panel = Panel(x, y, title, right=margin(ends_words))
    if max(ends) > high:
        panel.strip(high, x.high)
    for style, ((level, curve, band), name, end) in enumerate(zip(curves, words, ends_words)):
        if name:
            legend.setdefault(name, style)
        if band is not None:
            clip = lambda v: float(min(max(v, panel.y.low), panel.y.high))  # noqa: E731
            panel.band([(float(d), clip(a), clip(b)) for d, a, b in zip(grid, *band)], str(style))
        panel.line([(float(d), float(v)) for d, v in zip(grid, curve)], str(style))
        if end:
            panel.end(float(curve[-1]), clipped(end), str(style))
    for cell in cells:
        if all(np.isclose(np.log(cell[c]), np.log(v), atol=0.5) for c, v in middle.items() if cell.get(c, 0) > 0):
            style = 0 if other is None else int(np.argmin([abs(np.log(cell[other] / level)) for level in levels]))
            if other is None or abs(np.log(cell[other] / levels[style])) < 1e-6:
                note = ", ".join(f"{column} {amount(cell[column])}" for _, column in factors if column in cell) + f": {cell['seen']:.4g}"
                panel.marker(cell[along], cell["seen"], str(style), hollow=bool(cell["held_out"]), note=note)
    return panel


def _levels(law: Law, other: str | None) -> list:
    """Levels of the other factor to draw: all, or as many as there are styles, spread evenly; [None] where there is none."""
    if other is None:
        return [None]
    levels = law.entry["levels"].get(other) or list(law.range[other])
    if len(levels) <= CURVES:
        return levels
    return [levels[round(k * (len(levels) - 1) / (CURVES - 1))] for k in range(CURVES)]
