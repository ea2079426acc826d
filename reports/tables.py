"""The tables of a report: each cell holds its value (for report.json) and its dress (for the page and for Markdown)."""

import dataclasses

from reports import numbers
from reports.lawbook import form_words
from reports.numbers import count, fixed, level, listed, short, signed, significant

PARTS = (("interior", "interior"), ("edge_size", "larger models"), ("edge_data", "more data"), ("corner", "both"))


KINDS = {"none": "no crossing", "tie": "tie throughout"}


def four(value):
    """An error in nats, to four digits."""
    return fixed(value, 4)


@dataclasses.dataclass
class Column:
    """A column: its key in report.json, its heading, and how a value is shown (None: as text)."""

    key: str
    heading: str
    show: object = None

    def text(self, value):
        if value is None or value == "":
            return numbers.NOTHING
        return self.show(value) if self.show else str(value)


@dataclasses.dataclass
class Table:
    """A table: `rows` are dicts by column key; `folded` tables are closed until asked for."""

    name: str
    title: str
    note: str
    columns: list
    rows: list
    folded: bool = False

    def texts(self):
        """All rows as shown."""
        return [[column.text(row.get(column.key)) for column in self.columns] for row in self.rows]

    def shown(self):
        """The columns in which at least one row says something."""
        kept = [c for c in self.columns if any(row.get(c.key) not in (None, "") for row in self.rows)]
        return dataclasses.replace(self, columns=kept)


def bounds(value):
    """`0.120 (0.110 to 0.130)` of a law's parameter."""
    low, high = value.get("low"), value.get("high")
    inside = f" ({numbers.interval(low, high, significant)})" if numbers.known(low) or numbers.known(high) else ""
    return significant(value.get("value")) + inside


def all_tables(measured, book, folder, warnings, task_names):
    """Every table with at least one row, in the order of the report."""
    made = [warning_table(warnings), law_table(book), error_table(book, task_names), crossing_table(book), forgetting_table(measured, task_names),
            sweep_table(folder.trials), budget_table(folder.trials), correlation_table(book), pair_table(measured, task_names), result_table(folder)]
    return [table.shown() for table in made if table and table.rows]


def warning_table(warnings):
    columns = [Column("id", "warning"), Column("task", "task"), Column("subject", "about"), Column("message", "what it says"), Column("advice", "what to do next"), Column("times", "times", count)]
    return Table("warnings", "Warnings, and what to do next", "", columns, warnings, len(warnings) > 10)


def law_table(book):
    """Every law: expression, parameters with intervals, errors, or why it was refused."""
    names = list(dict.fromkeys(name for entry in book.laws for name in entry["parameters"]))
    rows = [{"task": entry["task"], "method": entry["method"], "response": entry["response"].replace("_", " "), "factor": book.factor_words(entry), "form": form_words(entry["form"]),
             "expression": entry["expression"], "headline": "headlined" if book.headlined(entry) else "", **entry["parameters"], "points": entry["points"], "held": entry["held_out_points"],
             "fit": entry["fit_error"], "error": entry["held_out_error"]["all"], "refused": entry["refused"], "reason": entry.get("reason") if entry["refused"] else None} for entry in book.laws]
    columns = [Column("task", "task"), Column("response", "response"), Column("method", "method"), Column("factor", "over"), Column("form", "form"), Column("headline", "headline"),
               *[Column(name, name, bounds) for name in sorted(names, key=lambda n: "A B E alpha beta gamma tau".find(n))], Column("points", "points", count), Column("held", "held out", count),
               Column("fit", "fit error", four), Column("error", "held-out error", four), Column("expression", "expression"), Column("refused", "refused"), Column("reason", "why")]
    return Table("laws", "Laws", "Parameters with 95 % intervals, given these base models; errors are mean absolute deviations in nats. X is the law\N{RIGHT SINGLE QUOTATION MARK}s factor, "
                 "N model size, P pretraining tokens, T trained adapter parameters, D finetuning examples. Full precision stands in laws.json.", columns, rows, len(rows) > 12)


def error_table(book, tasks):
    """Fit and held-out error of every form beside the naive baselines."""
    rows = []
    for task in tasks:
        for response in dict.fromkeys(entry["response"] for entry in book.select(task)):
            for row in book.errors(task, response):
                rows.append({"task": task, "response": response.replace("_", " "), "method": row["method"], "factor": row["factor_words"], "name": row["name"], "kind": row["kind"],
                             "headline": "headlined" if row["headlined"] else "", "fit": row["fit"], "all": row["held_out"], **{key: row["parts"].get(key) for key, _ in PARTS}})
    columns = [Column("task", "task"), Column("response", "response"), Column("method", "method"), Column("factor", "over"), Column("name", "form or baseline"), Column("kind", "kind"),
               Column("headline", "headline"), Column("fit", "fit", four), Column("all", "held out", four), *[Column(key, words, four) for key, words in PARTS]]
    return Table("errors", "Errors of forms and baselines", "Mean absolute deviation in nats, on the fitted cells and on cells held out inside the range, beyond it in model size, in data, or in both. "
                 "Baselines: carry the last value; the log-log line through the last two points; a power law of its own at every level.", columns, rows, len(rows) > 24)


def crossing_table(book):
    """Crossings, departures and ties of pairs of methods, from the paired differences and from the laws."""
    rows = []
    for item in book.crossings:
        examples = item["examples"] or {}
        rows.append({"task": item["task"], "response": item["response"].replace("_", " "), "factor": book.factor_words(item), "at": book.place_words(item), "pair": f"{item['first']} and {item['second']}",
                     "source": "paired runs" if item["source"] == "data" else "laws", "kind": KINDS.get(item["kind"], item["kind"]), "leader": item["leader"], "value": examples.get("value"),
                     "interval": numbers.interval(examples.get("low"), examples.get("high"), level) if examples else None, "inside": {True: "yes", False: "no"}.get(item["inside"]),
                     "share": item["share"], "reason": item["refused"]})
    columns = [Column("task", "task"), Column("response", "response"), Column("factor", "over"), Column("at", "at"), Column("pair", "methods"), Column("source", "seen in"), Column("kind", "what"),
               Column("leader", "ahead after"), Column("value", "examples", level), Column("interval", "95 % interval"), Column("inside", "inside the data"), Column("share", "share of draws", numbers.percent),
               Column("reason", "refused")]
    return Table("crossings", "Where methods meet and part", "A crossing is where two methods change places; a departure, after a tie, is where they differ by more than max(0.01 nats, 2 standard errors). "
                 "Comparisons are at equal data. \N{LEFT DOUBLE QUOTATION MARK}none\N{RIGHT DOUBLE QUOTATION MARK} as a method is the untouched base.", columns, rows, len(rows) > 24)


def forgetting_table(measured, tasks):
    """Loss on base text before and after, at every default cell."""
    from reports.answer import forgetting

    rows = [{"task": task, **row} for task in tasks for row in forgetting(measured, task)["rows"]]
    columns = [Column("task", "task"), Column("model_size", "model"), Column("method", "method"), Column("examples", "examples", count), Column("before", "before", fixed),
               Column("after", "after", fixed), Column("rise", "change", signed), Column("seeds", "seeds", count)]
    return Table("forgetting", "Forgetting", "Loss on the base\N{RIGHT SINGLE QUOTATION MARK}s own held-out text in nats per token, before and after finetuning.", columns, rows, True)


def sweep_table(trials):
    """What every learning-rate sweep tried, chose and cost."""
    groups = {}
    for row in trials:
        if row.get("role") == "sweep":
            groups.setdefault((row.get("task") or "task", row.get("method"), row.get("level") or ""), []).append(row)
    rows = []
    for (task, method, place), tried in groups.items():
        chosen = [row for row in tried if row.get("chosen") in ("1", "True", "true")]
        edge = next((row["at_edge"] for row in chosen if row.get("at_edge")), "")
        rows.append({"task": task, "method": method, "level": place, "tried": listed(dict.fromkeys(significant(row.get("learning_rate"), 2) for row in sorted(tried, key=lambda r: r.get("learning_rate") or 0))),
                     "chosen": chosen[0].get("learning_rate") if chosen else None, "edge": f"yes, the {edge} end" if edge else "no", "best": chosen[0].get("dev_loss") if chosen else None, "runs": len(tried),
                     "flops": sum(row.get("flops") or 0 for row in tried), "seconds": sum(row.get("seconds") or 0 for row in tried)})
    columns = [Column("task", "task"), Column("method", "method"), Column("level", "corner"), Column("tried", "rates tried"), Column("chosen", "chosen", lambda v: significant(v, 3)), Column("edge", "on the edge"),
               Column("best", "dev loss", fixed), Column("runs", "runs", count), Column("flops", "FLOPs", numbers.flops), Column("seconds", "time", numbers.duration)]
    return Table("sweeps", "Learning-rate sweeps and their cost", "The winner by dev loss feeds the cells; between corners the rate is interpolated geometrically in the number of examples.", columns, rows)


def budget_table(trials):
    """Runs with twice the steps, and what they gained."""
    rows = [{"task": row.get("task"), "method": row.get("method"), "model_size": row.get("model_size"), "examples": row.get("finetuning_examples"), "steps": row.get("steps"), "plain": row.get("cell_dev_loss"),
             "twice": row.get("dev_loss"), "gain": row.get("gain")} for row in trials if row.get("role") == "budget_check"]
    columns = [Column("task", "task"), Column("method", "method"), Column("model_size", "model"), Column("examples", "examples", count), Column("steps", "steps, doubled", count), Column("plain", "dev loss, plain budget", fixed),
               Column("twice", "dev loss, twice the steps", fixed), Column("gain", "gain", signed)]
    return Table("budget", "Budget checks", "One more run a method with twice the steps: a gain says that the budget, not only the data, limits the method.", columns, rows)


def correlation_table(book):
    """Pearson and Spearman of the test loss with every other metric."""
    rows = [{"task": item["task"], "metric": item["metric"], "method": item["method"], "rows": item["rows"], **{f"{kind}_{part}": (item[kind] or {}).get(part) for kind in ("pearson", "spearman") for part in "rp"}}
            for item in book.correlations if item["pearson"] or item["spearman"]]
    small = lambda v: significant(v, 2)
    columns = [Column("task", "task"), Column("metric", "metric"), Column("method", "method"), Column("pearson_r", "Pearson", signed), Column("pearson_p", "p", small), Column("spearman_r", "Spearman", signed),
               Column("spearman_p", "p", small), Column("rows", "runs", count)]
    return Table("correlations", "Loss against the metrics", "Correlation of test loss with each metric over all runs of a method; \N{MINUS SIGN}1 says that a lower loss always comes with a higher score.", columns, rows)


def pair_table(measured, tasks):
    """Paired differences of every pair of methods at every default cell."""
    rows = []
    for task in tasks:
        methods = measured.methods(task)
        for size in measured.sizes(task):
            for place, first in enumerate(methods):
                for second in methods[place + 1:]:
                    others = {c.examples: c for c in measured.at_default(task, second, size)}
                    for cell in measured.at_default(task, first, size):
                        gap = measured.difference(cell, others[cell.examples]) if cell.examples in others and cell.examples > 0 else None
                        if gap:
                            verdict = "tie" if abs(gap.mean) <= gap.band else f"{first if gap.mean < 0 else second} ahead"
                            rows.append({"task": task, "model_size": size, "examples": cell.examples, "pair": f"{first} \N{MINUS SIGN} {second}", "difference": gap.mean, "error": gap.error,
                                         "interval": numbers.interval(gap.low, gap.high, signed) if gap.low is not None else None, "seeds": gap.seeds, "verdict": verdict})
    columns = [Column("task", "task"), Column("model_size", "model"), Column("examples", "examples", count), Column("pair", "methods"), Column("difference", "difference, nats", signed), Column("error", "standard error", lambda v: fixed(v, 4)),
               Column("interval", "95 % interval"), Column("seeds", "paired seeds", count), Column("verdict", "verdict")]
    return Table("pairs", "Paired differences", "Test loss of the first method minus that of the second, on the same subsets of data.", columns, rows, True)


def result_table(folder):
    """results.csv as it is, without the long keys."""
    hidden = {"key", "base", "device"}
    counts = {"model_parameters", "non_embedding_parameters", "finetuning_examples", "peft_parameters", "steps", "best_step", "examples_seen", "finetuning_tokens", "pretraining_tokens", "rank", "prompt_length"}

    def show(name):
        if name in ("pretraining_tokens", "model_parameters", "non_embedding_parameters", "peft_parameters"):
            return short
        if name in counts:
            return count
        return numbers.flops if name == "flops" else numbers.duration if name == "seconds" else (lambda v: significant(v) if isinstance(v, float) else str(v))

    columns = [Column(name, name.replace("_", " "), show(name)) for name in folder.columns if name not in hidden]
    return Table("results", "All results", "One row a scored cell; method \N{LEFT DOUBLE QUOTATION MARK}none\N{RIGHT DOUBLE QUOTATION MARK} is the untouched base. Every digit stands in results.csv.", columns, folder.rows, True)
