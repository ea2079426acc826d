"""A small SVG plotter: panels with linear or log axes, lines, bands, markers and direct labels that keep out of each other's way."""

import dataclasses
import math

from markupsafe import Markup, escape

from reports.numbers import MINUS, level

CHARACTER = 0.58  # width of an average character, in font sizes; wide fonts included
BOLD = 0.67  # the same for semibold labels
SMALL = 11


@dataclasses.dataclass
class Axis:
    """One axis: data range, its scale and its ticks as (value, label).

    `bend` makes the scale linear within that distance of zero and logarithmic beyond, so that small and large differences both show.
    """

    low: float
    high: float
    log: bool = False
    ticks: list = dataclasses.field(default_factory=list)
    label: str = ""
    bend: float = 0.0

    def share(self, value):
        """Where a value lies between low (0) and high (1)."""
        if self.log:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        if self.bend:
            low, at, high = (math.asinh(v / self.bend) for v in (self.low, value, self.high))
            return (at - low) / (high - low)
        return (value - self.low) / (self.high - self.low)


def bent_axis(values, bend, label=""):
    """An axis through zero, linear up to about `bend` and logarithmic beyond, with ticks at 1 and 3 times powers of ten."""
    low, high = min([-1.6 * bend, *values]) * 1.12, max([1.6 * bend, *values]) * 1.12
    steps, size = [0.0], bend
    while size <= max(-low, high):
        steps += [size, -size, 3 * size, -3 * size]
        size *= 10
    if len([v for v in steps if low <= v <= high]) > 7:
        steps = [v for v in steps if not v or round(math.log10(abs(v)) % 1, 6) in (0, 1)]
    return Axis(low, high, False, [(v, f"{abs(v):g}" if v >= 0 else f"{MINUS}{-v:g}") for v in sorted(steps) if low <= v <= high], label, bend)


def linear_axis(values, label="", pad=0.06, count=5, include=()):
    """A linear axis that holds all values, with about `count` round ticks."""
    values = [v for v in (*values, *include) if v is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if high - low < 1e-9:
        low, high = low - 0.05 * max(abs(low), 1), high + 0.05 * max(abs(high), 1)
    reach = (high - low) * pad
    low, high = low - reach, high + reach
    return Axis(low, high, False, round_ticks(low, high, count), label)


def round_ticks(low, high, count=5):
    """Ticks at 1, 2 or 5 times a power of ten, labelled with as many digits as they need."""
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [(i * step, f"{i * step:.{digits}f}".replace("-", MINUS) if i else "0") for i in range(first, last + 1)]


def level_axis(levels, label="", show=level, pad=0.05):
    """A log axis whose ticks are the levels that were measured, so that a tick is a place with data."""
    levels = sorted({v for v in levels if v is not None and v > 0})
    if not levels:
        return Axis(0.5, 2, True, [], label)
    low, high = levels[0], levels[-1]
    reach = (high / low) ** pad if high > low else 2.0
    return Axis(low / reach, high * reach, True, [(v, show(v)) for v in levels], label)


class Panel:
    """One drawing of fixed size in its own coordinates; `render` gives an <svg> element, `inner` what is inside it."""

    def __init__(self, x=None, y=None, title="", width=352, height=284, left=46, right=62, top=46, bottom=44):
        self.x, self.y, self.title = x, y, title
        self.width, self.height = width, height
        self.left, self.right, self.top, self.bottom = left, right, top, bottom
        self.under, self.marks, self.over, self.ends = [], [], [], []

    # -- coordinates ---------------------------------------------------------------------------------------------------
    def at_x(self, value):
        return self.left + self.x.share(value) * (self.width - self.left - self.right)

    def at_y(self, value):
        return self.height - self.bottom - self.y.share(value) * (self.height - self.top - self.bottom)

    def inside(self, x, y):
        return self.x.low <= x <= self.x.high and self.y.low - 1e-9 <= y <= self.y.high + 1e-9

    # -- marks ---------------------------------------------------------------------------------------------------------
    def line(self, points, style, thin=False, faint=False):
        """A polyline through (x, y) points; `style` numbers colour and dash."""
        if len(points) > 1:
            path = "M" + "L".join(f"{self.at_x(x):.1f} {self.at_y(y):.1f}" for x, y in points)
            extra = (" thin" if thin else "") + (" faint" if faint else "")
            self.marks.append(f'<path class="ln s{style} d{style}{extra}" d="{path}"/>')

    def band(self, points, style):
        """A filled band through (x, low, high) points."""
        if len(points) > 1:
            up = [f"{self.at_x(x):.1f} {self.at_y(high):.1f}" for x, _, high in points]
            down = [f"{self.at_x(x):.1f} {self.at_y(low):.1f}" for x, low, _ in reversed(points)]
            self.under.append(f'<path class="band f{style}" d="M{"L".join(up + down)}Z"/>')

    def marker(self, x, y, style, size=4.2, hollow=False, faint=False, note="", aside=0.0):
        """A marker whose shape belongs to `style`; hollow for held-out points; `note` is its tooltip, `aside` moves it by pixels."""
        shape = marker_path(style, self.at_x(x) + aside, self.at_y(y), size)
        kind = f"hollow s{style}" if hollow else f"mk f{style}"
        tip = f"<title>{escape(note)}</title>" if note else ""
        self.marks.append(f'<path class="{kind}{" faint" if faint else ""}" d="{shape}">{tip}</path>')

    def bar(self, x, low, high, style, cap=3.5, horizontal=False):
        """An interval as a thin line with caps: vertical at x, or horizontal at y."""
        if horizontal:
            y, a, b = self.at_y(x), self.at_x(low), self.at_x(high)
            path = f"M{a:.1f} {y - cap:.1f}V{y + cap:.1f}M{a:.1f} {y:.1f}H{b:.1f}M{b:.1f} {y - cap:.1f}V{y + cap:.1f}"
        else:
            x, a, b = self.at_x(x), self.at_y(low), self.at_y(high)
            path = f"M{x - cap:.1f} {a:.1f}H{x + cap:.1f}M{x:.1f} {a:.1f}V{b:.1f}M{x - cap:.1f} {b:.1f}H{x + cap:.1f}"
        self.marks.append(f'<path class="ln thin s{style}" d="{path}"/>')

    def level(self, y, text, kind="base"):
        """A labelled horizontal line across the plot: the untouched base, the floor, zero."""
        at = self.at_y(y)
        self.under.append(f'<path class="ref {kind}" d="M{self.left} {at:.1f}H{self.width - self.right}"/>')
        if text:
            self.ends.append((at, text, f"t-{kind}", None))

    def strip(self, low, high):
        """Shades the plot between two x values: outside what the laws were fitted on."""
        a, b = self.at_x(low), self.at_x(high)
        self.under.insert(0, f'<rect class="strip" x="{a:.1f}" y="{self.top}" width="{b - a:.1f}" height="{self.height - self.top - self.bottom}"/>')

    def ribbon(self, low, high):
        """Shades the plot between two y values: the tie band."""
        a, b = self.at_y(high), self.at_y(low)
        self.under.insert(0, f'<rect class="strip" x="{self.left}" y="{a:.1f}" width="{self.width - self.left - self.right}" height="{b - a:.1f}"/>')

    def end(self, y, text, style):
        """A direct label in the right margin, beside the last point of a line; labels are spread so that none overlaps."""
        self.ends.append((self.at_y(y), text, f"t{style}", style))

    def word(self, x, y, text, kind="tiny", anchor="start", dx=0, dy=0):
        """Text at a place of the data."""
        self.over.append(self.text_at(self.at_x(x) + dx, self.at_y(y) + dy, text, kind, anchor))

    def text_at(self, x, y, text, kind="", anchor="start"):
        """Text at a place of the drawing."""
        return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'

    # -- output --------------------------------------------------------------------------------------------------------
    def axes(self):
        """Grid, ticks, axis labels and the title."""
        parts, right, floor = [], self.width - self.right, self.height - self.bottom
        if self.y and self.y.label:
            parts.append(self.text_at(2, self.top - 12, self.y.label, "tick"))
        for value, text in self.y.ticks if self.y else ():
            at = self.at_y(value)
            parts.append(f'<path class="grid" d="M{self.left} {at:.1f}H{right}"/>')
            parts.append(self.text_at(self.left - 7, at + 3.8, text, "tick", "end"))
        last = -math.inf
        for value, text in thinned(self.x.ticks, self.at_x) if self.x else ():
            at, wide = self.at_x(value), len(text) * SMALL * CHARACTER
            if at - wide / 2 < last + 6:
                continue
            last = at + wide / 2
            parts.append(f'<path class="axis" d="M{at:.1f} {floor}v4"/>')
            parts.append(self.text_at(at, floor + 16, text, "tick", "middle"))
        if self.x and self.x.ticks:
            parts.append(f'<path class="axis" d="M{self.left} {floor}H{right}"/>')
            parts.append(self.text_at((self.left + right) / 2, self.height - 8, self.x.label, "label", "middle"))
        if self.title:
            parts.append(self.text_at(2, 16, self.title, "title"))
        return parts

    def inner(self, clip):
        """Everything inside the svg element. `clip` is an id that is unique in the document."""
        box = (
            f'<clipPath id="{clip}"><rect x="{self.left}" y="{self.top - 5}" width="{self.width - self.left - self.right + 5}" '
            f'height="{self.height - self.top - self.bottom + 10}"/></clipPath>'
        )
        labels = []
        for (_, text, kind, style), at in zip(self.ends, spread([e[0] for e in self.ends], 13.5, self.top + 2, self.height - self.bottom + 2)):
            x = self.width - self.right + 8
            if style is not None:
                labels.append(f'<path class="mk f{style}" d="{marker_path(style, x + 2, at, 3.4)}"/>')
                x += 9
            labels.append(self.text_at(x, at + 3.8, text, f"end {kind}"))
        return Markup(
            box + "".join(self.axes()) + f'<g clip-path="url(#{clip})">' + "".join(self.under + self.marks) + "</g>" + "".join(self.over + labels)
        )

    def render(self, name, description):
        """The panel as one inline <svg> with a title and a description for those who cannot see it."""
        return Markup(
            f'<svg viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}" role="img" '
            f'aria-labelledby="{name}-t {name}-d"><title id="{name}-t">{escape(self.title or description)}</title>'
            f'<desc id="{name}-d">{escape(description)}</desc>{self.inner(name + "-c")}</svg>'
        )


def thinned(ticks, place):
    """Ticks that fit side by side: all, else every second, third, ... one, the last always among them."""
    ticks = sorted(ticks)
    for stride in range(1, len(ticks) + 1):
        kept = ticks[::-1][::stride][::-1]
        gaps = [place(b[0]) - place(a[0]) - (len(a[1]) + len(b[1])) / 2 * SMALL * CHARACTER for a, b in zip(kept, kept[1:])]
        if all(gap >= 6 for gap in gaps):
            return kept
    return ticks[-1:]


def spread(places, gap, low, high):
    """Moves labels apart until none is closer than `gap`, as little as possible, within [low, high]."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    groups = []
    for i in order:
        groups.append([[i], places[i]])
        while len(groups) > 1 and groups[-2][1] + gap * (len(groups[-2][0]) - 1) / 2 + gap > groups[-1][1] - gap * (len(groups[-1][0]) - 1) / 2:
            members = groups[-2][0] + groups[-1][0]
            groups[-2:] = [[members, sum(places[m] for m in members) / len(members)]]
    moved = list(places)
    for members, centre in groups:
        half = gap * (len(members) - 1) / 2
        centre = max(min(centre, high - half), low + half)
        for rank, member in enumerate(members):
            moved[member] = centre - half + rank * gap
    return moved


def marker_path(style, x, y, r):
    """The outline of a style's marker: circle, square, triangle, diamond, inverted triangle, plus; the base is a cross."""
    shape = "x" if style == "b" else ("o", "s", "^", "D", "v", "+")[int(style) % 6]
    if shape == "o":
        return f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0Z"
    if shape == "s":
        q = r * 0.88
        return f"M{x - q:.1f} {y - q:.1f}h{2 * q:.1f}v{2 * q:.1f}h{-2 * q:.1f}Z"
    if shape in "^v":
        q = r * 1.15 * (1 if shape == "^" else -1)
        return f"M{x:.1f} {y - q:.1f}L{x + abs(q):.1f} {y + q * 0.8:.1f}H{x - abs(q):.1f}Z"
    if shape == "D":
        q = r * 1.25
        return f"M{x:.1f} {y - q:.1f}L{x + q:.1f} {y:.1f}L{x:.1f} {y + q:.1f}L{x - q:.1f} {y:.1f}Z"
    a, b = r * 1.15, r * 0.4
    if shape == "+":
        return f"M{x - b:.1f} {y - a:.1f}h{2 * b:.1f}v{a - b:.1f}h{a - b:.1f}v{2 * b:.1f}h{b - a:.1f}v{a - b:.1f}h{-2 * b:.1f}v{b - a:.1f}h{b - a:.1f}v{-2 * b:.1f}h{a - b:.1f}Z"
    c = r * 0.42
    points = (
        (-a, -a + c),
        (-a + c, -a),
        (0, -c),
        (a - c, -a),
        (a, -a + c),
        (c, 0),
        (a, a - c),
        (a - c, a),
        (0, c),
        (-a + c, a),
        (-a, a - c),
        (-c, 0),
    )
    return "M" + "L".join(f"{x + u:.1f} {y + v:.1f}" for u, v in points) + "Z"
