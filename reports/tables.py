"""The tables of the measured side, and all tables of a report in their order."""

from reports import numbers
from reports.lawtables import correlation_table, crossing_table, error_table, law_table, map_table
from reports.numbers import count, fixed, listed, short, signed, significant
from reports.table import Column, Table


def all_tables(measured, book, folder, warnings, task_names):
    """Every table with at least one row, in the order of the report."""
    made = [
        warning_table(warnings),
        law_table(book),
        error_table(book, task_names),
        crossing_table(book),
        map_table(book),
        forgetting_table(measured, book, task_names),
        sweep_table(folder.trials),
        budget_table(folder.trials),
        correlation_table(book),
        pair_table(measured, task_names),
        result_table(folder),
    ]
    return [table.shown() for table in made if table and table.rows]


def warning_table(warnings):
    columns = [
        Column("id", "warning"),
        Column("task", "task"),
        Column("subject", "about"),
        Column("message", "what it says"),
        Column("advice", "what to do next"),
        Column("times", "times", count),
    ]
    return Table("warnings", "Warnings, and what to do next", "", columns, warnings, len(warnings) > 10)


def forgetting_table(measured, book, tasks):
    """Loss on base text before and after, at every default cell, and whether the cell is on the front of learning against forgetting."""
    from reports.answer import forgetting

    rows = []
    for task in tasks:
        for row in forgetting(measured, task)["rows"]:
            cell = book.front(task, measured.parameters(row["model_size"])).get((row["method"], row["examples"]), {})
            on = {True: "yes", False: "no"}.get(cell.get("front"))
            rows.append({"task": task, **row, "test_loss": cell.get("test_loss", {}).get("value"), "front": on, "front_share": cell.get("probability")})
    columns = [
        Column("task", "task"),
        Column("model_size", "model"),
        Column("method", "method"),
        Column("examples", "examples", count),
        Column("before", "before", fixed),
        Column("after", "after", fixed),
        Column("rise", "change", signed),
        Column("test_loss", "test loss", fixed),
        Column("front", "on the front"),
        Column("front_share", "probability", numbers.percent),
        Column("seeds", "seeds", count),
    ]
    return Table(
        "forgetting",
        "Forgetting",
        "Loss on the base\N{RIGHT SINGLE QUOTATION MARK}s own held-out text in nats per token, before and after finetuning. On the front: no other cell of this model size "
        "has a test loss and a loss on base text that are both lower; its probability is given the noise between seeds.",
        columns,
        rows,
        True,
    )


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
        rows.append(
            {
                "task": task,
                "method": method,
                "level": place,
                "tried": listed(
                    dict.fromkeys(numbers.rate(row.get("learning_rate")) for row in sorted(tried, key=lambda r: r.get("learning_rate") or 0))
                ),
                "chosen": chosen[0].get("learning_rate") if chosen else None,
                "edge": f"yes, the {edge} end" if edge else "no",
                "best": chosen[0].get("dev_loss") if chosen else None,
                "runs": len(tried),
                "flops": sum(row.get("flops") or 0 for row in tried),
                "seconds": sum(row.get("seconds") or 0 for row in tried),
            }
        )
    columns = [
        Column("task", "task"),
        Column("method", "method"),
        Column("level", "corner"),
        Column("tried", "rates tried"),
        Column("chosen", "chosen", numbers.rate),
        Column("edge", "on the edge"),
        Column("best", "dev loss", fixed),
        Column("runs", "runs", count),
        Column("flops", "FLOPs", numbers.flops),
        Column("seconds", "time", numbers.duration),
    ]
    return Table(
        "sweeps",
        "Learning-rate sweeps and their cost",
        "The winner by dev loss feeds the cells; between corners the rate is interpolated geometrically in the number of examples.",
        columns,
        rows,
    )


def budget_table(trials):
    """Runs with twice the steps, and what they gained."""
    rows = [
        {
            "task": row.get("task"),
            "method": row.get("method"),
            "model_size": row.get("model_size"),
            "examples": row.get("finetuning_examples"),
            "steps": row.get("steps"),
            "plain": row.get("cell_dev_loss"),
            "twice": row.get("dev_loss"),
            "gain": row.get("gain"),
        }
        for row in trials
        if row.get("role") == "budget_check"
    ]
    columns = [
        Column("task", "task"),
        Column("method", "method"),
        Column("model_size", "model"),
        Column("examples", "examples", count),
        Column("steps", "steps, doubled", count),
        Column("plain", "dev loss, plain budget", fixed),
        Column("twice", "dev loss, twice the steps", fixed),
        Column("gain", "gain", signed),
    ]
    return Table(
        "budget",
        "Budget checks",
        "One more run a method with twice the steps: a gain says that the budget, not only the data, limits the method.",
        columns,
        rows,
    )


def pair_table(measured, tasks):
    """Paired differences of every pair of methods at every default cell."""
    rows = []
    for task in tasks:
        methods = measured.methods(task)
        for size in measured.sizes(task):
            for place, first in enumerate(methods):
                for second in methods[place + 1 :]:
                    others = {c.examples: c for c in measured.at_default(task, second, size)}
                    for cell in measured.at_default(task, first, size):
                        gap = measured.difference(cell, others[cell.examples]) if cell.examples in others and cell.examples > 0 else None
                        if gap:
                            verdict = "tie" if abs(gap.mean) <= gap.band else f"{first if gap.mean < 0 else second} ahead"
                            rows.append(
                                {
                                    "task": task,
                                    "model_size": size,
                                    "examples": cell.examples,
                                    "pair": f"{first} \N{MINUS SIGN} {second}",
                                    "difference": gap.mean,
                                    "error": gap.error,
                                    "interval": numbers.interval(gap.low, gap.high, signed) if gap.low is not None else None,
                                    "seeds": gap.seeds,
                                    "verdict": verdict,
                                }
                            )
    columns = [
        Column("task", "task"),
        Column("model_size", "model"),
        Column("examples", "examples", count),
        Column("pair", "methods"),
        Column("difference", "difference, nats", signed),
        Column("error", "standard error", lambda v: fixed(v, 4)),
        Column("interval", "95 % interval"),
        Column("seeds", "paired seeds", count),
        Column("verdict", "verdict"),
    ]
    return Table(
        "pairs", "Paired differences", "Test loss of the first method minus that of the second, on the same subsets of data.", columns, rows, True
    )


def result_table(folder):
    """results.csv as it is, without the long keys."""
    hidden = {"key", "base", "device"}
    counts = {
        "model_parameters",
        "non_embedding_parameters",
        "finetuning_examples",
        "peft_parameters",
        "steps",
        "best_step",
        "examples_seen",
        "finetuning_tokens",
        "pretraining_tokens",
        "rank",
        "prompt_length",
    }

    def show(name):
        if name in ("pretraining_tokens", "model_parameters", "non_embedding_parameters", "peft_parameters"):
            return short
        if name in counts:
            return count
        return (
            numbers.flops
            if name == "flops"
            else numbers.duration
            if name == "seconds"
            else (lambda v: significant(v) if isinstance(v, float) else str(v))
        )

    columns = [Column(name, name.replace("_", " "), show(name)) for name in folder.columns if name not in hidden]
    return Table(
        "results",
        "All results",
        "One row a scored cell; method \N{LEFT DOUBLE QUOTATION MARK}none\N{RIGHT DOUBLE QUOTATION MARK} is the untouched base. Every digit stands in results.csv.",
        columns,
        folder.rows,
        True,
    )
