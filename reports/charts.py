"""Figures of what follows from the losses: the map of winners, paired differences, exponents and held-out errors."""

import itertools

from markupsafe import escape

from reports import numbers
from reports.cells import BASE, TIE, unique
from reports.figure import Figure, glyph
from reports.plots import clipped, margin, size_title
from reports.svg import BOLD, CHARACTER, Axis, Panel, bent_axis, level_axis, linear_axis, marker_path

GREEK = {"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "tau": "τ", "eta": "η"}


def winner_map(scene, task):
    """The method with the lowest test loss over model size and data size; ties are named in their cells."""
    measured = scene.measured
    sizes, levels = measured.sizes(task), [d for d in measured.examples(task) if d > 0]
    contests = {(size, d): measured.contest(task, size, d) for size in sizes for d in levels}
    sizes = [size for size in sizes if any(contests[size, d] for d in levels)]
    if not sizes:
        return None
    left, wide, tall = 66, max(62, min(120, 272 // len(sizes))), 62
    panel = Panel(None, None, "", width=left + wide * len(sizes) + 14, height=24 + tall * len(levels) + 50, left=left, right=14, top=24, bottom=50)
    sure = False
    for row, d in enumerate(reversed(levels)):
        top = 24 + row * tall
        panel.over.append(panel.text_at(left - 9, top + tall / 2 + 4, numbers.level(d), "tick", "end"))
        for column, size in enumerate(sizes):
            place = scene.book.place(task, "test_loss", measured.parameters(size), d)
            draw_tile(panel, scene, contests[size, d], place, left + column * wide, top, wide, tall)
            sure = sure or bool(place and place["lead"])
    for column, size in enumerate(sizes):
        middle = left + (column + 0.5) * wide
        panel.over.append(panel.text_at(middle, 24 + tall * len(levels) + 16, clipped(size, wide // 7), "value", "middle"))
        parameters = measured.parameters(size)
        if parameters is not None and size != numbers.short(parameters):
            panel.over.append(panel.text_at(middle, 24 + tall * len(levels) + 30, numbers.short(parameters), "tick", "middle"))
    panel.over.append(panel.text_at(4, 14, "examples", "label"))
    panel.over.append(
        panel.text_at(
            left + wide * len(sizes) / 2,
            panel.height - 4,
            "model size (parameters)" if scene.book.size_words == "model size" else scene.book.size_words,
            "label",
            "middle",
        )
    )
    held = any(contest and contest.held_out for contest in contests.values())
    caption = (
        f"The method with the lowest mean test loss at each model and data size. A tie is a difference of at most max({TIE} nats, 2 standard errors); "
        "the number is the lead over the next method outside the tie, in nats; "
        "\N{LEFT DOUBLE QUOTATION MARK}base\N{RIGHT DOUBLE QUOTATION MARK} means that no method beats the untouched base."
        + (" The percentage is the probability that the method with the lowest mean really is the lowest there, given the noise between seeds." if sure else "")
        + (" A ring marks cells that the laws were never fitted on." if held else "")
    )
    return Figure("winner-map", task, "Who wins where", caption, [panel], [])


def sure_words(share):
    """A probability drawn finitely often: never quite certain."""
    return "> 99 %" if share >= 0.995 else "< 1 %" if share < 0.005 else numbers.percent(share)


def chances(lead):
    """`full 98 %, lora 2 %` of the probabilities of a place, the likeliest first; what never leads is left out."""
    known = sorted(((share, "base" if method == BASE else method) for method, share in lead.items() if share >= 0.005), reverse=True)
    return ", ".join(f"{method} {sure_words(share)}" for share, method in known)


def draw_tile(panel, scene, contest, place, x, y, wide, tall):
    """One cell of the map: colour, marker, name, lead, and the probability (of `place` in laws.json) that the best mean is the best."""
    if contest is None:
        panel.marks.append(f'<rect class="open tile" x="{x}" y="{y}" width="{wide}" height="{tall}"/>')
        panel.over.append(panel.text_at(x + wide / 2, y + tall / 2 + 4, numbers.NOTHING, "tick", "middle"))
        return
    outcome, middle = contest.outcome, x + wide / 2
    room = int((wide - 8) / (12 * CHARACTER))
    if outcome == (BASE,):
        name, below, style = "base", "no gain", None
    elif len(outcome) == 1:
        name, style = clipped(outcome[0], room - 2), scene.styles[outcome[0]]
        below = f"by {numbers.fixed(-contest.runner_up.mean)}" if contest.runner_up else "only method"
    else:
        joined = " = ".join(outcome)
        everyone = len(outcome) == len(contest.losses) and len(outcome) > 2
        name, style = (joined if len(joined) <= room else "all tie" if everyone else f"tie of {len(outcome)}"), None
        below = "tie" if len(joined) <= room else clipped(", ".join(outcome), int(wide / 6.6))
    kind = "open tile" if style is None else f"band f{style} tile"
    losses = "; ".join(f"{method} {numbers.fixed(loss)}" for method, loss in sorted(contest.losses.items(), key=lambda pair: pair[1]))
    tip = f"{contest.size}, {numbers.count(contest.examples)} examples: {losses} nats" + (
        "" if style is not None else f"; tied: {', '.join(contest.tied)}"
    )
    lead = place["lead"] if place else None
    if lead:
        tip += f"; lowest with probability: {chances(lead)}" + (f"; by the laws: {chances(place['law_lead'])}" if place["law_lead"] else "")
    panel.marks.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{wide}" height="{tall}"><title>{escape(tip)}</title></rect>')
    at = middle
    if style is not None:
        half = len(name) * 12 * BOLD / 2
        panel.marks.append(f'<path class="mk f{style}" d="{marker_path(style, middle - half - 2, y + tall / 2 - 11, 4)}"/>')
        at = middle + 7
    panel.over.append(panel.text_at(at, y + tall / 2 - 7, name, "cell", "middle"))
    if below:
        panel.over.append(panel.text_at(middle, y + tall / 2 + 8, below, "tick", "middle"))
    if lead:
        share = lead.get(outcome[0] if len(outcome) == 1 else contest.best)
        alone = len(outcome) == 1 or wide < 100
        panel.over.append(panel.text_at(middle, y + tall / 2 + 22, sure_words(share) if alone else f"{clipped(contest.best, 8)} {sure_words(share)}", "tick", "middle"))
    if contest.held_out:
        panel.marks.append(f'<path class="hollow sn" d="{marker_path("0", x + wide - 8, y + 8, 2.8)}"/>')


def differences(scene, task):
    """Paired differences of test loss against data size, one panel a model size, with the tie band and 95 % intervals."""
    measured, methods = scene.measured, scene.measured.methods(task)
    if len(methods) < 2:
        return None
    pairs = list(itertools.combinations(methods, 2)) if len(methods) <= 3 else [(methods[0], other) for other in methods[1:]]
    found = {}
    for size, (first, second) in itertools.product(measured.sizes(task), pairs):
        others = {c.examples: c for c in measured.at_default(task, second, size)}
        for cell in measured.at_default(task, first, size):
            other = others.get(cell.examples)
            # The difference is second minus first, so that a point above zero says that the first method is ahead.
            gap = measured.difference(other, cell) if other and cell.examples > 0 else None
            if gap:
                found.setdefault(size, {}).setdefault((first, second), []).append((cell, gap))
    if not found:
        return None
    groups = [[v for points in rows.values() for _, gap in points for v in (gap.low, gap.high, gap.mean) if v is not None] for rows in found.values()]
    axes = [bent_axis([v for values in groups for v in values], TIE, "difference of test loss, nats")] * len(groups)
    labels = {pair: f"{clipped(pair[1], 9)} \N{MINUS SIGN} {clipped(pair[0], 9)}" for pair in pairs}
    panels = []
    for (size, rows), y in zip(found.items(), axes):
        x = level_axis([c.examples for points in rows.values() for c, _ in points], "finetuning examples")
        panel = Panel(x, y, size_title(scene, size), right=margin(labels.values()))
        panel.ribbon(-TIE, TIE)
        panel.level(0, "", "zero")
        for number, pair in enumerate(pairs):
            points, style = rows.get(pair, []), str((number + 3) % 6)
            nudge = 1.0 + 0.035 * (number - (len(pairs) - 1) / 2)
            panel.line([(c.examples * nudge, gap.mean) for c, gap in points], style, thin=True)
            for c, gap in points:
                if gap.low is not None:
                    panel.bar(c.examples * nudge, gap.low, gap.high, style)
            for c, gap in points:
                panel.marker(
                    c.examples * nudge,
                    gap.mean,
                    style,
                    3.6,
                    hollow=bool(c.held_out),
                    note=f"{labels[pair]} at {numbers.count(c.examples)} examples: {numbers.signed(gap.mean)} nats, "
                    f"95 % {numbers.interval(gap.low, gap.high, numbers.signed)}, {numbers.plural(gap.seeds, 'paired seed')}",
                )
            if points:
                panel.end(points[-1][1].mean, labels[pair], style)
        panels.append(panel)
    legend = [(glyph("method", str((i + 3) % 6)), labels[pair]) for i, pair in enumerate(pairs)]
    legend += [(glyph("outside"), f"tie: within {TIE} nats")]
    sure = any(gap.low is not None for rows in found.values() for points in rows.values() for _, gap in points)
    if sure:
        legend += [(glyph("interval"), "95 % interval, seeds paired")]
    caption = (
        f"Difference of test loss between two methods on the same subsets of data, in nats. Above zero, the method named second in the label is ahead; "
        f"inside the grey band the difference is too small to matter. The vertical scale is linear within {TIE} nats of zero and logarithmic beyond. "
        + (
            "Intervals hold for these base models and use a seed deviation pooled over cells."
            if sure
            else "With one seed a cell there are no intervals."
        )
    )
    return Figure("differences", task, "Method against method, pair by pair", caption, panels, legend)


def exponents(scene, task):
    """Fitted exponents of the best law of each method with their intervals, one panel an exponent."""
    groups = {}
    for entry in scene.book.best_laws(task, scene.book.loss):
        for name, value in scene.book.exponents(entry):
            groups.setdefault((scene.book.factor_words(entry), name), []).append((entry, value))
    if not groups:
        return None
    panels = []
    for (factor, name), entries in groups.items():
        ends = [v for _, value in entries for v in (value["value"], value.get("low"), value.get("high")) if numbers.known(v)]
        x = linear_axis(ends, f"{GREEK.get(name, name)}, law over {factor}", include=(0,))
        tall = 27
        y = Axis(-0.5, len(entries) - 0.5)
        panel = Panel(
            x,
            y,
            f"{GREEK.get(name, name)} ({factor})",
            height=30 + tall * len(entries) + 46,
            top=30,
            left=14 + 11 * BOLD * max(len(clipped(e["method"])) for e, _ in entries),
            right=60,
        )
        zero = panel.at_x(0)
        panel.under.append(f'<path class="ref zero" d="M{zero:.1f} {panel.top}V{panel.height - panel.bottom}"/>')
        for row, (entry, value) in enumerate(reversed(entries)):
            style = scene.styles[entry["method"]]
            if numbers.known(value.get("low")) and numbers.known(value.get("high")):
                panel.bar(row, value["low"], value["high"], style, horizontal=True)
            panel.marker(
                value["value"],
                row,
                style,
                hollow=not scene.book.headlined(entry),
                note=f"{entry['method']}: {numbers.fixed(value['value'])}, 95 % {numbers.interval(value.get('low'), value.get('high'))}",
            )
            at = panel.at_y(row) + 3.8
            panel.over.append(panel.text_at(panel.left - 8, at, clipped(entry["method"]), f"end t{style}", "end"))
            panel.over.append(panel.text_at(panel.width - 6, at, numbers.fixed(value["value"]), "value", "end"))
        panels.append(panel)
    caption = (
        "Exponents of the best law of each method with 95 % intervals: how fast loss falls with data (β) and with the law\N{RIGHT SINGLE QUOTATION MARK}s other factor (α). "
        "An interval that holds zero says that the factor has no measurable effect. Hollow markers: a baseline, not this law, is headlined."
    )
    return Figure("exponents", task, "Fitted exponents", caption, panels, [(glyph("interval"), "value and 95 % interval")])


def errors(scene, task):
    """Held-out error of every form and naive baseline, one panel a method and factor."""
    groups = {}
    for row in scene.book.errors(task, scene.book.loss):
        if numbers.known(row["held_out"]):
            groups.setdefault((row["factor_words"], row["method"]), []).append(row)
    if not groups:
        return None
    panels, order = [], unique(factor for factor, _ in groups)
    for (factor, method), rows in sorted(groups.items(), key=lambda pair: order.index(pair[0][0])):
        rows = sorted(rows, key=lambda row: row["held_out"])
        top, tall = max(row["held_out"] for row in rows) or 1.0, 23
        left = 18 + 11 * CHARACTER * max(len(row["name"]) for row in rows)
        style = scene.styles[method]
        panel = Panel(
            Axis(0, top),
            Axis(-0.5, len(rows) - 0.5),
            f"{clipped(method, 18)}, over {factor}",
            height=30 + tall * len(rows) + 12,
            left=left,
            right=64,
            top=30,
            bottom=12,
        )
        for place, row in enumerate(reversed(rows)):
            middle, end = panel.at_y(place), panel.at_x(row["held_out"])
            shape = f'x="{left}" y="{middle - 7:.1f}" width="{max(end - left, 1):.1f}" height="14" rx="1.5"'
            panel.marks.append(f'<rect class="f{style}{"" if row["headlined"] else " faint"}" {shape}/>')
            panel.over.append(panel.text_at(left - 7, middle + 3.8, row["name"], "value" if row["headlined"] else "tick", "end"))
            mark = " \N{BLACK LEFT-POINTING SMALL TRIANGLE}" if row["headlined"] else ""
            panel.over.append(panel.text_at(end + 5, middle + 3.8, numbers.fixed(row["held_out"], 4) + mark, "value"))
        panels.append(panel)
    caption = (
        "Mean absolute deviation on the held-out cells in nats, lower is better: laws beside naive baselines (carry the last value; the straight log-log line through the "
        "last two points). A law that does not beat them has explained nothing. The full bar with the triangle is what this report headlines."
    )
    return Figure("errors", task, "Which form predicts what it has not seen", caption, panels, [])
