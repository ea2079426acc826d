"""The answer in words: sentences made from the numbers of results.csv and laws.json, true whatever came out."""

import dataclasses
import itertools

from reports import numbers
from reports.cells import BASE, TIE
from reports.lawwords import law_lines
from reports.numbers import listed


@dataclasses.dataclass
class TaskAnswer:
    """What is said about one task: a lead sentence, the main (topic, sentence) pairs, then `more` of them; `facts` are the numbers behind it."""

    task: str
    lead: str
    lines: list
    more: list
    facts: dict


def answer(measured, book, trials, task):
    """The `TaskAnswer` of a task."""
    methods, sizes = measured.methods(task), measured.sizes(task)
    stretches = {size: segments(measured, task, size) for size in sizes}
    stretches = {size: parts for size, parts in stretches.items() if parts}
    lines = [(size_name(measured, size), size_sentence(measured, task, size, parts)) for size, parts in stretches.items()]
    if stretches:
        lines.append(("How sure", certainty(measured, trials, task, stretches)))
        gained = gain(measured, task, stretches)
        if gained:
            lines.append(("Against the untouched base", gained))
    forgotten = forgetting(measured, task)
    if forgotten["rows"] or measured.size_words == "model size":
        lines.append(("Forgetting", forgotten["text"]))
    else:
        lines.append(("Units", "This table was made elsewhere: its response is taken as a loss in nats per token, lower is better."))
    main, more = law_lines(measured, book, task)
    facts = {
        "methods": methods,
        "sizes": sizes,
        "segments": [part for parts in stretches.values() for part in parts],
        "forgetting": forgotten["rows"],
    }
    return TaskAnswer(task, lead(measured, task, stretches), lines + main, more, facts)


# -- who wins ----------------------------------------------------------------------------------------------------------
def segments(measured, task, size):
    """Stretches of data sizes with one outcome: [{model_size, first, last, examples, outcome, losses, lead}], smallest first."""
    contests = [c for c in (measured.contest(task, size, d) for d in measured.examples(task, size) if d > 0) if c]
    parts = []
    for outcome, group in itertools.groupby(contests, key=lambda c: tuple(sorted(c.outcome))):
        group = list(group)
        end = group[-1]
        ahead = end.runner_up if len(outcome) == 1 and outcome[0] != BASE else None
        parts.append(
            {
                "model_size": size,
                "first": group[0].examples,
                "last": end.examples,
                "examples": [c.examples for c in group],
                "outcome": list(group[0].outcome),
                "methods": sorted(group[0].losses),
                "seeds": min(c.seeds for c in group),
                "losses": end.losses,
                "base": end.base,
                "lead": None if ahead is None else {"over": ahead.second, "difference": ahead.mean, "low": ahead.low, "high": ahead.high},
            }
        )
    return parts


def leader(parts):
    """(method, from how many examples on) where one method leads at the largest data size, else (None, None)."""
    last = parts[-1]
    if len(last["outcome"]) == 1 and last["outcome"][0] != BASE and len(last["methods"]) > 1:
        return last["outcome"][0], last["first"]
    return None, None


def lead(measured, task, stretches):
    """The one sentence that stands first."""
    methods = measured.methods(task)
    if not methods:
        return "Only the untouched base was scored: there is no finetuning to compare."
    if not stretches:
        return "No finetuned model has a test loss with the other factors at their defaults: there is nothing to compare."
    everywhere = [part for parts in stretches.values() for part in parts]
    if all(part["outcome"] == [BASE] for part in everywhere):
        return f"No method beats the untouched base by more than {TIE} nats and its noise, at any {noun(measured)} or number of examples."
    if len(methods) == 1:
        return one_method(measured, task, methods[0], stretches)
    heads = {size: leader(parts) for size, parts in stretches.items()}
    names = {name for name, _ in heads.values()}
    if names == {None}:
        if all(len(part["outcome"]) > 1 and len(part["outcome"]) == len(part["methods"]) for part in everywhere):
            return f"A tie everywhere: {listed(methods)} differ by no more than {TIE} nats or two standard errors at every {noun(measured)} and number of examples."
        return f"No method leads at the largest number of examples, at any {noun(measured)}: {ends(stretches)}."
    if len(names) == 1:
        name = next(iter(names))
        starts = {start for _, start in heads.values()}
        first = all(start == stretches[size][0]["first"] for size, (_, start) in heads.items())
        if first:
            return f"{name} leads at every number of examples{at_sizes(measured, stretches)}."
        if len(starts) == 1:
            return f"{name} leads from {numbers.count(starts.pop())} examples on{at_sizes(measured, stretches)}{before(stretches)}."
        return f"{name} leads at every {noun(measured)} once there are enough examples: {grouped_starts(heads)}{before(stretches)}."
    parts = []
    for name in [n for n in methods if n in names]:
        own = {size: head for size, head in heads.items() if head[0] == name}
        parts.append(f"{name} leads {grouped_starts(own)}")
    text = "; ".join(parts)
    if None in names:
        undecided = {size: stretches[size] for size, (name, _) in heads.items() if name is None}
        text += f"; no method leads at the end for {ends(undecided)}"
    return text + "."


def noun(measured, number=1):
    """What the sizes are: `model size`, or `level of params` in a table made elsewhere."""
    several = "" if number == 1 else "s"
    return f"model size{several}" if measured.size_words == "model size" else f"level{several} of {measured.size_words}"


def at_sizes(measured, stretches):
    """`, at every model size` where there are several."""
    return f", at every {noun(measured)}" if len(stretches) > 1 else ""


def before(stretches):
    """What holds below the lead, where it is the same at every size."""
    first = [parts[0] for parts in stretches.values()]
    outcomes = {tuple(sorted(part["outcome"])) for part in first}
    if len(outcomes) == 1 and all(len(parts) == 2 for parts in stretches.values()):
        outcome = first[0]["outcome"]
        if outcome == [BASE]:
            return "; with fewer, nothing beats the untouched base"
        return f"; with fewer, {listed(outcome)} tie" if len(outcome) > 1 else f"; with fewer, {outcome[0]} leads"
    return ""


def grouped_starts(heads):
    """`from 1,024 on at xs, from 4,096 on at s and m`."""
    groups = {}
    for size, (_, start) in heads.items():
        groups.setdefault(start, []).append(size)
    return ", ".join(f"from {numbers.count(start)} examples on at {listed(sizes)}" for start, sizes in sorted(groups.items()))


def ends(stretches):
    """Who shares the largest data size, at each model size."""
    groups = {}
    for size, parts in stretches.items():
        groups.setdefault(tuple(parts[-1]["outcome"]), []).append(size)
    words = []
    for outcome, sizes in groups.items():
        state = (
            "nothing beats the base" if outcome == (BASE,) else f"{listed(outcome)} tie" if len(outcome) > 1 else f"{outcome[0]} alone was measured"
        )
        words.append(f"{listed(sizes)} ({state})")
    return listed(words)


def one_method(measured, task, method, stretches):
    """The lead where only one method was studied: what it gains over the base."""
    size, parts = list(stretches.items())[-1]
    last = parts[-1]
    if last["base"] is None:
        return f"Only {method} was studied, so nothing is compared: at {size} and {numbers.count(last['last'])} examples its test loss is {numbers.nats(last['losses'][method])}."
    change = last["losses"][method] - last["base"]
    return (
        f"Only {method} was studied, so nothing is compared: at {size} and {numbers.count(last['last'])} examples it takes the base\N{RIGHT SINGLE QUOTATION MARK}s test loss "
        f"from {numbers.fixed(last['base'])} to {numbers.nats(last['losses'][method])} ({numbers.signed(change)})."
    )


def size_name(measured, size):
    """`xs, 18.6K parameters`."""
    parameters = measured.parameters(size)
    if measured.size_words != "model size":
        return f"{measured.size_words} {size}"
    return size if parameters is None or size == f"{parameters:.0f}" else f"{size}, {numbers.short(parameters)} parameters"


def size_sentence(measured, task, size, parts):
    """What happens at one model size as examples grow."""
    words = []
    for place, part in enumerate(parts):
        where = stretch(part, place == 0, place == len(parts) - 1, len(parts) == 1)
        words.append(f"{where} {outcome_words(part)}")
    text = "; ".join(words)
    return text[:1].upper() + text[1:] + "."


def stretch(part, first, last, only):
    """`up to 1,024 examples`, `from 4,096 examples on`, `at 256 examples`."""
    low, high = numbers.count(part["first"]), numbers.count(part["last"])
    if only and low != high:
        return f"at every number of examples from {low} to {high}"
    if low == high and (first or not last):
        return f"at {low} examples"
    if first:
        return f"up to {high} examples"
    return f"from {low} examples on" if last and low != high else f"at {low} examples" if low == high else f"from {low} to {high} examples"


def outcome_words(part):
    """`full leads, at 16,384 by 0.123 nats over lora (95 % interval 0.110 to 0.136)`."""
    outcome = part["outcome"]
    if outcome == [BASE]:
        return "no method beats the untouched base"
    if len(outcome) > 1:
        rest = [m for m in part["methods"] if m not in outcome]
        every = "all " if not rest and len(outcome) > 2 else ""
        return f"{listed(outcome)} {every}tie" + (f", ahead of {listed(rest)}" if rest else "")
    ahead = part["lead"]
    if ahead is None:
        return f"only {outcome[0]} was measured"
    where = f", at {numbers.count(part['last'])}" if part["first"] != part["last"] else ""
    sure = f" (95 % interval {numbers.interval(-ahead['high'], -ahead['low'])})" if ahead["low"] is not None else " (one seed: no interval)"
    return f"{outcome[0]} leads{where} by {numbers.nats(-ahead['difference'])} over {ahead['over']}{sure}"


# -- how sure, what it gains, what it forgets --------------------------------------------------------------------------
def certainty(measured, trials, task, stretches):
    """Seeds, the noise between them, what the intervals are about, and the learning rates."""
    methods = measured.methods(task)
    cells = [cell for method in methods for cell in measured.at_default(task, method)]
    counts = sorted({len(cell.seeds) for cell in cells})
    seeds = numbers.plural(counts[0], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    spreads = [measured.pooled(task, a, b, "test_loss")[0] for a, b in itertools.combinations(methods, 2)]
    spreads = [s for s in spreads if s is not None]
    text = f"{seeds} a cell"
    if counts[-1] < 2:
        text += f", so a tie means within {TIE} nats and nothing is known about chance"
    elif spreads and len(methods) > 1:
        low, high = numbers.fixed(min(spreads)), numbers.fixed(max(spreads))
        text += f", paired on the same subsets of data; the difference of two methods varies between seeds by {low if low == high else f'{low} to {high}'} nats (standard deviation)"
    text += ". Intervals hold for these base models: each size is one pretraining run." if counts[-1] > 1 else "."
    swept = {row.get("method") for row in trials if row.get("role") == "sweep" and (row.get("task") or task) == task}
    fixed = [method for method in methods if method not in swept]
    if not swept and measured.defaults:
        text += " Learning rates were not swept in this study, so every comparison reads \N{LEFT DOUBLE QUOTATION MARK}at these learning rates\N{RIGHT DOUBLE QUOTATION MARK}."
    elif swept and fixed:
        one = len(fixed) == 1
        text += (
            f" The learning rate{'' if one else 's'} of {listed(fixed)} {'was' if one else 'were'} not swept: read {'its' if one else 'their'} comparisons "
            f"\N{LEFT DOUBLE QUOTATION MARK}at {'this learning rate' if one else 'these learning rates'}\N{RIGHT DOUBLE QUOTATION MARK}."
        )
    return text


def gain(measured, task, stretches):
    """What the best method gains over the untouched base at the largest data size of the default model size."""
    size = measured.default_size(task)
    size = size if size in stretches else list(stretches)[-1]
    last = stretches[size][-1]
    if last["base"] is None:
        return ""
    changes = sorted((loss - last["base"], method) for method, loss in last["losses"].items())
    words = [f"{method} by {numbers.signed(change)} (to {numbers.fixed(last['losses'][method])})" for change, method in changes]
    return f"At {size} and {numbers.count(last['last'])} examples the base\N{RIGHT SINGLE QUOTATION MARK}s test loss of {numbers.nats(last['base'])} changes with {listed(words)}."


def forgetting(measured, task):
    """{text, rows}: the rise of the loss on the base's own held-out text, at the default size and its largest common data size."""
    rows = []
    for size in measured.sizes(task):
        before = measured.base(task, size, "pretraining_loss")
        for method in measured.methods(task):
            for cell in measured.at_default(task, method, size):
                after = cell.mean("pretraining_loss")
                if before is not None and after is not None and cell.examples > 0:
                    rows.append(
                        {
                            "model_size": size,
                            "method": method,
                            "examples": cell.examples,
                            "before": before,
                            "after": after,
                            "rise": after - before,
                            "seeds": len(cell.values("pretraining_loss")),
                        }
                    )
    if not rows:
        return {"text": "Not measured: no loss on held-out pretraining text stands in the results.", "rows": []}
    size = measured.default_size(task)
    size = size if any(row["model_size"] == size for row in rows) else rows[-1]["model_size"]
    examples = max(row["examples"] for row in rows if row["model_size"] == size)
    shown = sorted((row for row in rows if row["model_size"] == size and row["examples"] == examples), key=lambda row: -row["rise"])
    words = [f"{row['method']} {numbers.signed(row['rise'])}" for row in shown]
    text = (
        f"At {size} and {numbers.count(examples)} examples the loss on the base\N{RIGHT SINGLE QUOTATION MARK}s own held-out text, {numbers.nats(shown[0]['before'])} before, "
        f"changes by {listed(words)} nats."
    )
    return {"text": text, "rows": rows}
