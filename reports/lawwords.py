"""What the laws can and cannot say, in words: headlines with their errors, refusals, and where methods meet."""

from reports import numbers
from reports.cells import BASE
from reports.lawbook import SIZE_FACTORS
from reports.numbers import listed


def law_lines(measured, book, task):
    """What the laws can and cannot say: (the first factor and the limits, then the other factors and where methods meet)."""
    entries = book.select(task, response=book.loss)
    if not entries:
        return [("Laws", "No law of the test loss was asked for in this task.")], []
    lines = []
    for factor, group in dict.fromkeys((entry["factor"], entry["group"]) for entry in entries):
        words = [text for text in (law_words(book, task, method, factor, group) for method in measured.methods(task)) if text]
        about = book.factor_words({"factor": factor, "group": group})
        lines.append((f"Laws over {about}" + ("" if about.startswith(("data", "all")) else " and data"), "\n".join(words)))
    parted = parting_words(book, task)
    if parted:
        lines.append(("Where methods part", parted))
    met = meeting_words(book, task)
    if met:
        lines.append(("Where the laws cross", met))
    limits = []
    if not any(entry["held_out_points"] for entry in entries):
        limits.append("No cell was held out, so no law has been tried on what it has not seen: read them as descriptions, not as predictions.")
    fitted = {cell.size for method in measured.methods(task) for cell in measured.at_default(task, method) if not cell.held_out}
    if len(fitted) < 4 and measured.size_words == "model size" and book.select(task, response=book.loss, factor="size"):
        limits.append(
            f"{numbers.plural(len(fitted), 'fitted model size')} can describe an exponent of model size but not test it: a larger model is outside what these laws can say."
        )
    return lines[:1] + ([("What the laws cannot say", " ".join(limits))] if limits else []), lines[1:]


def law_words(book, task, method, factor, group):
    """One method's headline in words: a law with its errors, a baseline, none, or refused."""
    entries = book.select(task, method, book.loss, factor, group)
    if not entries:
        return ""
    if all(entry["refused"] for entry in entries):
        why = dict.fromkeys(f"{entry['refused']}: {entry['reason']}" if entry.get("reason") else entry["refused"] for entry in entries)
        return f"{method}: refused ({'; '.join(why)})."
    item = book.headline(entries[0])
    rows = [
        row
        for row in book.errors(task, book.loss)
        if (row["method"], row["factor"], row["group"]) == (method, factor, group) and numbers.known(row["held_out"])
    ]
    rival = min((row for row in rows if row["kind"] == "baseline"), key=lambda row: row["held_out"], default=None)
    own = min((row for row in rows if row["kind"] == "law"), key=lambda row: row["held_out"], default=None)
    if item.get("judged_by") == "leave_largest_out":
        what = f"the {item['winner']} law" if item["kind"] == "form" else f"a naive baseline ({item['winner']})"
        return f"{method}: no cell was held out. With the largest levels left out, {what} was off least, by {numbers.fixed(item['choice']['error'], 4)} nats on {item['choice']['cells']} cells."
    if item.get("kind") == "form":
        against = f"; the best naive baseline ({rival['name']}) by {numbers.fixed(rival['held_out'], 4)}" if rival else ""
        return f"{method}: the {own['name']} law is headlined, off by {numbers.fixed(own['held_out'], 4)} nats on {cells_held(item)}{against}."
    if item.get("kind") == "baseline":
        against = f"; the best law ({own['name']}) by {numbers.fixed(own['held_out'], 4)}" if own else ""
        return f"{method}: no law is headlined. A naive baseline ({rival['name']}) is off by {numbers.fixed(rival['held_out'], 4)} nats on {cells_held(item)}{against}."
    best = min((entry for entry in entries if not entry["refused"]), key=lambda entry: entry["fit_error"])
    return f"{method}: nothing is headlined{': ' + item['reason'] if item.get('reason') else ''}. The {best['form'].replace('_', ' ')} law describes the fitted points to {numbers.fixed(best['fit_error'], 4)} nats."


def cells_held(item):
    """`the 3 held-out cells`."""
    return "the only held-out cell" if item["cells"] == 1 else f"the {numbers.count(item['cells'])} held-out cells"


def parting_words(book, task):
    """Where the paired runs put crossings and departures, one line a model size."""
    places = {}
    for item in book.meetings(task, book.loss, "data"):
        if item["kind"] in ("crossing", "departure") and item["examples"] and BASE not in (item["first"], item["second"]) and same_place(item):
            other = item["second"] if item["leader"] == item["first"] else item["first"]
            verb = "overtakes" if item["kind"] == "crossing" else "leaves a tie with"
            places.setdefault(book.place_words(item), []).append(f"{item['leader']} {verb} {other} at about {between(item['examples'])}")
    return "\n".join(f"{place + ': ' if place else ''}{'; '.join(words)}." for place, words in places.items())


def meeting_words(book, task):
    """Where the fitted laws cross over model size: inside the data, outside, or not at all."""
    found = [item for item in book.meetings(task, book.loss, "laws") if same_place(item)]
    inside = [item for item in found if item["kind"] == "crossing" and item["inside"] and item["examples"]]
    outside = [item for item in found if item["kind"] == "crossing" and not item["inside"]]
    never = [item for item in found if item["kind"] == "none"]
    words = [f"{item['first']} and {item['second']}{at(book, item)} at about {between(item['examples'])}{by_chance(item)}" for item in inside]
    text = f"Inside the data: {'; '.join(words)}. " if words else ""
    if outside:
        text += f"Outside the measured data, so not to be trusted: {'; '.join(unique_pairs(book, outside))}. "
    if never:
        text += f"No crossing: {'; '.join(unique_pairs(book, never))}."
    return text.strip()


def by_chance(item):
    """`, which chance alone shows in 27 % of cases` where a crossing is not shown beyond chance."""
    rate = item.get("false_root_rate")
    return f", which chance alone would show in {numbers.percent(rate)} of cases" if numbers.known(rate) and rate >= 0.05 else ""


def same_place(item):
    """True for a meeting over model size, or over data alone: what the answer is about."""
    return item["factor"] in SIZE_FACTORS or item["at"] is None


def at(book, item):
    """` at xs`, or nothing."""
    place = book.place_words(item)
    return f" at {place}" if place else ""


def unique_pairs(book, items):
    """`full and lora at xs and s` for each pair."""
    pairs = {}
    for item in items:
        pairs.setdefault(f"{item['first']} and {item['second']}", []).append(book.place_words(item))
    return [f"{pair} at {listed(dict.fromkeys(places))}" if all(places) else pair for pair, places in pairs.items()]


def between(examples):
    """`1,204 examples (95 % interval 900 to 1,600)`."""
    low, high = examples.get("low"), examples.get("high")
    whole = lambda v: numbers.level(round(float(f"{v:.3g}")))
    sure = f" (95 % interval {numbers.interval(low, high, whole)})" if numbers.known(low) or numbers.known(high) else ""
    return f"{whole(examples['value'])} examples{sure}"
