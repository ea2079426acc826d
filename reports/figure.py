"""What a figure is: panels, a legend and a caption; drawn inline for the page or as one standalone SVG file."""

import dataclasses
import pathlib
import re

import jinja2
from markupsafe import Markup, escape

from reports.svg import BOLD, CHARACTER, marker_path

TEMPLATES = pathlib.Path(__file__).parent / "templates"
STYLES = 6


@dataclasses.dataclass
class Figure:
    """One figure of the report. `legend` holds (glyph, words) pairs; `identity` is unique in the page."""

    name: str
    task: str
    title: str
    caption: str
    panels: list
    legend: list
    identity: str = ""

    def drawings(self):
        """The panels as inline SVG."""
        return [panel.render(f"{self.identity}-{i}", f"{self.title}. {panel.title}. {self.caption}") for i, panel in enumerate(self.panels)]


def environment():
    """The Jinja2 environment of all templates: escaping everywhere, an unknown name is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=lambda name: not (name or "").endswith(".md.j2"),
    )


def style_sheet(name):
    """The text of one of the style sheets; figures.css is shared by the page and by standalone files."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def glyph(kind, style="0"):
    """A legend's little picture, 30 by 14: method, mean, seed, held, band, outside, base or floor."""
    mid = 7
    line = f'<path class="ln s{style} d{style}" d="M1 {mid}H29"/>'
    if kind == "method":
        return Markup(line + f'<path class="mk f{style}" d="{marker_path(style, 15, mid, 4)}"/>')
    if kind == "seed":
        return Markup(f'<path class="mk fn faint" d="{marker_path("0", 9, 5, 2.4)}"/><path class="mk fn faint" d="{marker_path("0", 20, 9, 2.4)}"/>')
    if kind == "held":
        return Markup(f'<path class="hollow sn" d="{marker_path("0", 15, mid, 4)}"/>')
    if kind == "band":
        return Markup(f'<rect class="band fn" x="1" y="2" width="28" height="10"/><path class="ln sn" d="M1 {mid}H29"/>')
    if kind == "outside":
        return Markup('<rect class="strip" x="1" y="1" width="28" height="12"/>')
    if kind == "interval":
        return Markup(f'<path class="ln thin sn" d="M3 {mid}H27M3 4V10M27 4V10"/><path class="mk fn" d="{marker_path("0", 15, mid, 3.4)}"/>')
    if kind == "start":
        return Markup(f'<path class="mk fn" d="{marker_path("b", 15, mid, 4)}"/>')
    return Markup(f'<path class="ref {kind}" d="M1 {mid}H29"/>')


def legend_box(item):
    """A legend's glyph as inline SVG."""
    return Markup(f'<svg class="glyph" viewBox="0 0 30 14" width="30" height="14" aria-hidden="true">{item[0]}</svg>')


def resolved(sheet, scheme):
    """A style sheet with every var(--name) replaced by its value: what readers without CSS variables need."""
    return re.sub(r"var\((--[\w-]+)\)", lambda match: scheme[match.group(1)], sheet)


def light_scheme():
    """The light colours of figures.css, by variable name."""
    first = style_sheet("colours.css").split("}", 1)[0]
    return dict(re.findall(r"(--[\w-]+):\s*([^;]+);", first))


def standalone(figure, columns=3):
    """The figure as one SVG document on its own light card, the same on white and on dark pages."""
    margin, gap = 22, 14
    columns = max(1, min(columns, len(figure.panels)))
    rows = [figure.panels[i : i + columns] for i in range(0, len(figure.panels), columns)]
    width = max(2 * margin + max(sum(panel.width + gap for panel in row) - gap for row in rows), 2 * margin + len(figure.title) * 17 * BOLD, 340)
    parts, y = [], margin + 18
    parts.append(f'<text class="headline" x="{margin}" y="{y}">{escape(figure.title)}</text>')
    y += 16
    x = margin
    for picture, words in figure.legend:
        wide = 36 + len(words) * 12 * CHARACTER
        if x > margin and x + wide > width - margin:
            x, y = margin, y + 19
        parts.append(f'<g transform="translate({x:.0f} {y})">{picture}<text class="key" x="36" y="11">{escape(words)}</text></g>')
        x += wide + 16
    y += 26 if figure.legend else 4
    for r, row in enumerate(rows):
        x = margin
        for c, panel in enumerate(row):
            parts.append(f'<g transform="translate({x} {y})">{panel.inner(f"c{r}-{c}")}</g>')
            x += panel.width + gap
        y += max(panel.height for panel in row) + gap
    height = y + margin - gap
    sheet = resolved(style_sheet("figures.css"), light_scheme())
    text = (
        environment()
        .get_template("figure.svg.j2")
        .render(width=width, height=height, sheet=Markup(sheet), body=Markup("".join(parts)), figure=figure)
    )
    return text if text.endswith("\n") else text + "\n"
