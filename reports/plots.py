"""Figures of losses: against data size, against base-text loss, and against model size, pretraining tokens and adapter size."""

import dataclasses
import math

from reports import numbers
from reports.cells import SIZE_COLUMNS, Measured, unique
from reports.figure import Figure, glyph
from reports.lawbook import LawBook
from reports.svg import BOLD, Panel, level_axis, linear_axis

STEPS = 41  # points of a law's curve
SHARED_SCALE = 2.4  # panels share one y axis unless that would shrink the largest panel below 1/2.4 of its height
NATS = "test loss, nats per token"


@dataclasses.dataclass
class Scene:
    """What every figure is drawn from. `styles` gives each method its colour, dash and marker, the same in all figures."""

    measured: Measured
    book: LawBook
    entropy: dict
    styles: dict

    def method_keys(self, methods):
        """Legend entries of methods."""
        return [(glyph("method", self.styles[method]), method) for method in methods]


def clipped(text, most=14):
    """A name that fits beside a line."""
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def margin(names):
    """Width of a right margin that holds these labels."""
    return 22 + max((len(clipped(name)) for name in names), default=4) * 11 * BOLD


def y_axes(groups, label, include=(), pad=0.06):
    """One y axis a panel: shared by all panels where that does not squash them."""
    ranges = [max(values) - min(values) for values in groups if values]
    everything = [value for values in groups for value in values]
    if everything and max(ranges) * SHARED_SCALE >= max(everything) - min(everything):
        axis = linear_axis(everything, label, pad, include=include)
        return [axis] * len(groups), True
    return [linear_axis(values, label, pad, include=include) for values in groups], False


def size_title(scene, size):
    """`xs · 18.6K parameters`; in a table made elsewhere `params 10M`."""
    parameters = scene.measured.parameters(size)
    if scene.book.size_words != "model size":
        return f"{scene.book.size_words} {size}"
    named = size if parameters is None or size == f"{parameters:.0f}" else f"{size} · {numbers.short(parameters)}"
    return f"{named} parameters" if parameters is not None else size


def geometric(low, high):
    """Points from low to high, equally spaced on a log axis."""
    if low <= 0 or high <= low:
        return [low]
    return [low * (high / low) ** (i / (STEPS - 1)) for i in range(STEPS)]


def note(cell, response):
    """A marker's tooltip."""
    values = cell.values(response)
    held = f", held out ({cell.held_out.replace('_', ' ')})" if cell.held_out else ""
    return f"{cell.method}, {cell.size}, {numbers.count(cell.examples)} examples: {numbers.nats(cell.mean(response))}, {numbers.plural(len(values), 'seed')}{held}"


def draw_cells(panel, scene, cells, response, place):
    """Seeds as small faint points, their mean as a full marker, hollow where held out; methods stand slightly side by side."""
    order = unique(cell.method for cell in cells)
    aside = {method: 3.4 * (i - (len(order) - 1) / 2) for i, method in enumerate(order)}
    for cell in cells:
        style, values = scene.styles[cell.method], cell.values(response)
        if not values:
            continue
        if len(values) > 1:
            for value in values.values():
                panel.marker(place(cell), value, style, 2.3, faint=True, aside=aside[cell.method])
    for cell in cells:
        if cell.values(response):
            panel.marker(
                place(cell),
                cell.mean(response),
                scene.styles[cell.method],
                hollow=bool(cell.held_out),
                note=note(cell, response),
                aside=aside[cell.method],
            )


def draw_curve(panel, scene, method, curve, xs):
    """A law's curve with its band; faint where the law is not what is headlined, thin where nothing could be fitted."""
    style = scene.styles[method]
    if curve is None:
        return
    points = [(x, value, low, high) for x, (value, low, high) in zip(xs, curve.points) if value is not None and math.isfinite(value)]
    if curve.headlined and all(p[2] is not None and p[3] is not None for p in points):
        panel.band([(x, max(low, panel.y.low), min(high, panel.y.high)) for x, _, low, high in points], style)
    panel.line([(x, value) for x, value, _, _ in points], style, faint=not curve.headlined)


def join(panel, scene, cells, response, place):
    """Straight thin segments between means, where no law can be drawn."""
    points = [(place(cell), cell.mean(response)) for cell in cells if cell.mean(response) is not None]
    if cells:
        panel.line(points, scene.styles[cells[0].method], thin=True, faint=True)


def curve_words(scene, curves):
    """What the caption says about the curves, true for the mixture at hand."""
    drawn = [curve for curve in curves if curve is not None]
    if not drawn:
        return "No law was fitted here: points are joined by straight lines."
    words = []
    if any(curve.headlined for curve in drawn):
        words.append(
            "Curves are the headlined laws" + (" with their 95 % bands." if any(c.headlined and c.points[0][1] is not None for c in drawn) else ".")
        )
    if any(not curve.headlined for curve in drawn):
        words.append(
            "Faint curves are laws that a simpler baseline beats on the held-out points, or that nothing confirms: they are drawn to be judged, not trusted."
        )
    if any(curve is None for curve in curves):
        words.append("Where no law was fitted, points are joined by straight lines.")
    return " ".join(words)


def far_below(floor, values):
    """True where a floor would take more than half of the drawing's height away from the data."""
    return max(values) - floor > 1.9 * max(max(values) - min(values), 0.05)


def loss_by_data(scene, task, response="test_loss"):
    """Loss against finetuning examples, one panel a model size: laws, seeds, means, hold-outs, base and floor."""
    measured, methods, sizes = scene.measured, scene.measured.methods(task), scene.measured.sizes(task)
    rows = {
        size: {method: [c for c in measured.at_default(task, method, size) if c.mean(response) is not None and c.examples > 0] for method in methods}
        for size in sizes
    }
    sizes = [size for size in sizes if any(rows[size].values())]
    if not sizes:
        return None
    floor = scene.entropy.get(task) if response == "test_loss" else None
    bases = {size: measured.base(task, size, response) for size in sizes}
    groups = [
        [v for cells in rows[size].values() for c in cells for v in c.values(response).values()] + ([bases[size]] if bases[size] is not None else [])
        for size in sizes
    ]
    below = ""
    if floor is not None and far_below(floor, [v for values in groups for v in values]):
        below, floor = f" The exact entropy of the generator, {numbers.nats(floor)}, lies far below what is drawn.", None
    axes, shared = y_axes(
        groups, NATS if response == "test_loss" else "loss on base text, nats per token", include=[floor] if floor is not None else ()
    )
    names = [*methods, "base"] + (["entropy"] if floor is not None else [])
    panels, curves, outside = [], [], False
    for size, y in zip(sizes, axes):
        cells = [c for found in rows[size].values() for c in found]
        x = level_axis([c.examples for c in cells], "finetuning examples")
        panel = Panel(x, y, size_title(scene, size), right=margin(names))
        fitted = [c.examples for c in cells if not c.held_out]
        if fitted and max(c.examples for c in cells) > max(fitted):
            outside = True
            panel.strip(max(fitted), x.high)
        if bases[size] is not None:
            panel.level(bases[size], "base")
        if floor is not None:
            panel.level(floor, "entropy", "floor")
        for method in methods:
            own = rows[size][method]
            if not own:
                continue
            grid = geometric(min(c.examples for c in own), max(c.examples for c in own))
            curve = scene.book.curve(task, method, response, "size", [place_of(own[0], finetuning_examples=d) for d in grid])
            curves.append(curve)
            draw_curve(panel, scene, method, curve, grid)
            if curve is None:
                join(panel, scene, own, response, lambda c: c.examples)
            last = (
                curve.points[-1][0] if curve and curve.headlined and y.low <= (curve.points[-1][0] or math.inf) <= y.high else own[-1].mean(response)
            )
            panel.end(last, clipped(method), scene.styles[method])
        draw_cells(panel, scene, cells, response, lambda c: c.examples)
        panels.append(panel)
    seeds = max(len(c.seeds) for size in sizes for found in rows[size].values() for c in found)
    legend = scene.method_keys(methods)
    if seeds > 1:
        legend += [(glyph("seed"), "one seed (large: mean of seeds)")]
    if any(c.held_out for size in sizes for found in rows[size].values() for c in found):
        legend += [(glyph("held"), "held out: never fitted")]
    if any(curve is not None and curve.headlined for curve in curves):
        legend += [(glyph("band"), "law and 95 % band")]
    if outside:
        legend += [(glyph("outside"), "beyond the fitted data")]
    if any(bases[size] is not None for size in sizes):
        legend += [(glyph("base"), "untouched base")]
    if floor is not None:
        legend += [(glyph("floor"), "exact entropy of the generator")]
    what = "Test loss" if response == "test_loss" else "Loss on the base\N{RIGHT SINGLE QUOTATION MARK}s own held-out text after finetuning"
    caption = (
        f"{what} in nats per target token, lower is better, against the number of finetuning examples (log scale), one panel for each model size; the markers of the methods stand slightly side by side."
        f" {curve_words(scene, curves)}{below}" + ("" if shared or len(panels) == 1 else " Each panel has its own vertical scale.")
    )
    title = "Loss against data size" if response == "test_loss" else "Forgetting against data size"
    return Figure("loss-by-data" if response == "test_loss" else "forgetting-by-data", task, title, caption, panels, legend)


def place_of(cell, **changed):
    """The factors of a cell as the laws know them, with some changed."""
    row = next(iter(cell.seeds.values()))
    names = (*SIZE_COLUMNS, "pretraining_tokens", "peft_parameters", "finetuning_examples", "model_size")
    return {**{name: row[name] for name in names if row.get(name) is not None}, **changed}


def learning_forgetting(scene, task):
    """Target loss against base-text loss, one panel a model size: each method's path as data grow."""
    measured, methods = scene.measured, scene.measured.methods(task)
    both = lambda c: c.mean("test_loss") is not None and c.mean("pretraining_loss") is not None
    rows = {size: {method: [c for c in measured.at_default(task, method, size) if both(c)] for method in methods} for size in measured.sizes(task)}
    sizes = [size for size in rows if any(rows[size].values())]
    if not sizes:
        return None
    start = {size: (measured.base(task, size, "pretraining_loss"), measured.base(task, size)) for size in sizes}
    known = {size: [start[size]] if None not in start[size] else [] for size in sizes}
    ys = [[c.mean("test_loss") for found in rows[size].values() for c in found] + [p[1] for p in known[size]] for size in sizes]
    xs = [[c.mean("pretraining_loss") for found in rows[size].values() for c in found] + [p[0] for p in known[size]] for size in sizes]
    axes_y, same_y = y_axes(ys, NATS, pad=0.13)
    axes_x, same_x = y_axes(xs, "loss on base text, nats per token")
    panels, fronts = [], 0
    for size, x, y in zip(sizes, axes_x, axes_y):
        panel = Panel(x, y, size_title(scene, size), right=margin(methods))
        best = {place: cell for place, cell in scene.book.front(task, measured.parameters(size)).items() if cell["front"]}
        edge = sorted((cell["pretraining_loss"]["value"], cell["test_loss"]["value"]) for cell in best.values())
        if len(edge) > 1:
            fronts += 1
            steps = "".join(f"H{panel.at_x(a):.1f}V{panel.at_y(b):.1f}" for a, b in edge[1:])
            panel.under.append(f'<path class="ref floor" d="M{panel.at_x(edge[0][0]):.1f} {panel.at_y(edge[0][1]):.1f}{steps}"/>')
        for method in methods:
            own = rows[size][method]
            if not own:
                continue
            path = known[size] + [(c.mean("pretraining_loss"), c.mean("test_loss")) for c in own]
            panel.line(path, scene.styles[method], thin=True)
            for c in own:
                panel.marker(
                    c.mean("pretraining_loss"),
                    c.mean("test_loss"),
                    scene.styles[method],
                    hollow=bool(c.held_out),
                    note=f"{note(c, 'test_loss')}; base text {numbers.nats(c.mean('pretraining_loss'))}{front_note(best.get((method, c.examples)))}",
                )
            x_end, y_end = path[-1]
            far = panel.at_x(x_end) > panel.width - panel.right - 70
            panel.word(
                x_end,
                y_end,
                f"{clipped(method)} {numbers.level(own[-1].examples)}",
                f"end t{scene.styles[method]}",
                "end" if far else "start",
                dx=-6 if far else 8,
                dy=16 if far else 4,
            )
        for p in known[size]:
            panel.marker(*p, "b", note=f"untouched base: {numbers.nats(p[1])}, base text {numbers.nats(p[0])}")
        panels.append(panel)
    legend = scene.method_keys(methods)
    if any(known.values()):
        legend += [(glyph("start"), "untouched base, where every path starts")]
    if fronts:
        legend += [(glyph("floor"), "front: nothing measured is better on both")]
    if any(c.held_out for found in rows.values() for cells in found.values() for c in cells):
        legend += [(glyph("held"), "held out: never fitted")]
    caption = (
        "Learning and forgetting. Down is better on the task, left keeps more of what pretraining knew; each path follows one method from few examples "
        "to many, and its label names the largest number. A path that lies below and left of another learns the same for less forgetting."
        + (" The stepped line is the front: a point on it is beaten on both losses by none that was measured at this model size." if fronts else "")
        + ("" if same_x and same_y or len(panels) == 1 else " Panels have their own scales where one scale would hide the differences.")
    )
    return Figure("learning-forgetting", task, "What learning costs in forgetting", caption, panels, legend)


def front_note(cell):
    """What a tooltip adds where a cell lies on the front."""
    if cell is None:
        return ""
    share = cell["probability"]
    return "; on the front" + (f" (probability {numbers.percent(share)})" if share is not None else "")


VARIED = {
    "size": ("loss-by-size", "Loss against model size", "parameters of the model"),
    "pretraining_tokens": ("loss-by-pretraining", "Loss against pretraining tokens", "pretraining tokens"),
    "peft_parameters": ("loss-by-adapter", "Loss against trained adapter parameters", "trained parameters"),
}


def loss_by_factor(scene, task, factor):
    """Loss against a factor, one panel for each of up to three data sizes. None where the factor does not vary."""
    name, title, words = VARIED[factor]
    measured = scene.measured
    if factor == "size" and scene.book.size_words != "model size":
        title, words = f"Loss against {scene.book.size_words}", scene.book.size_words
    value = {"size": lambda c: c.parameters, "pretraining_tokens": lambda c: c.tokens, "peft_parameters": lambda c: c.peft}[factor]
    size = None if factor == "size" else measured.default_size(task)
    rows = {}
    for method in measured.methods(task):
        cells = measured.at_default(task, method, size, any_tokens=factor == "pretraining_tokens", any_variant=factor == "peft_parameters")
        cells = [c for c in cells if value(c) and c.mean("test_loss") is not None]
        if len({value(c) for c in cells}) > 1:
            rows[method] = cells
    if not rows:
        return None
    levels = sorted({c.examples for cells in rows.values() for c in cells if len({value(o) for o in cells if o.examples == c.examples}) > 1})
    if not levels:
        return None
    shown = unique([levels[0], levels[len(levels) // 2], levels[-1]])
    picked = {d: {m: [c for c in cells if c.examples == d] for m, cells in rows.items()} for d in shown}
    axes, shared = y_axes([[v for cells in picked[d].values() for c in cells for v in c.values("test_loss").values()] for d in shown], NATS)
    panels, curves = [], []
    for d, y in zip(shown, axes):
        cells = [c for found in picked[d].values() for c in found]
        panel = Panel(level_axis([value(c) for c in cells], words, numbers.short), y, f"{numbers.count(d)} examples", right=margin(rows))
        for method, own in picked[d].items():
            if not own:
                continue
            own = sorted(own, key=value)
            curve = None
            if len(own) > 1:
                grid = geometric(value(own[0]), value(own[-1]))
                column = scene.book.size_column if factor == "size" else factor
                curve = scene.book.curve(task, method, scene.book.loss, factor, [place_of(own[0], **{column: v}) for v in grid])
                draw_curve(panel, scene, method, curve, grid)
                curves.append(curve)
            if curve is None:
                join(panel, scene, own, "test_loss", value)
            last = (
                curve.points[-1][0]
                if curve and curve.headlined and y.low <= (curve.points[-1][0] or math.inf) <= y.high
                else own[-1].mean("test_loss")
            )
            panel.end(last, clipped(method), scene.styles[method])
        draw_cells(panel, scene, cells, "test_loss", value)
        panels.append(panel)
    legend = scene.method_keys(rows)
    if any(c.held_out for found in picked.values() for cells in found.values() for c in cells):
        legend += [(glyph("held"), "held out: never fitted")]
    if any(curve is not None and curve.headlined for curve in curves):
        legend += [(glyph("band"), "law and 95 % band")]
    where = f" at model size {size}" if size else ""
    caption = (
        f"Test loss in nats per target token against {words} (log scale){where}, at {numbers.listed([numbers.count(d) for d in shown])} finetuning examples. "
        f"{curve_words(scene, curves)}" + ("" if shared or len(panels) == 1 else " Each panel has its own vertical scale.")
    )
    return Figure(name, task, title, caption, panels, legend)
