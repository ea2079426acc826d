"""The tables of the fitted side: laws, errors of forms and baselines, where methods meet, loss against metrics."""

from reports import numbers
from reports.lawbook import form_words
from reports.numbers import count, fixed, level, signed, significant
from reports.table import Column, Table

PARTS = (("interior", "interior"), ("edge_size", "larger models"), ("edge_data", "more data"), ("corner", "both"))
KINDS = {"none": "no crossing", "tie": "tie throughout"}


def four(value):
    """An error in nats, to four digits."""
    return fixed(value, 4)


def bounds(value):
    """`0.120 (0.110 to 0.130)` of a law's parameter."""
    low, high = value.get("low"), value.get("high")
    inside = f" ({numbers.interval(low, high, significant)})" if numbers.known(low) or numbers.known(high) else ""
    return significant(value.get("value")) + inside


def law_table(book):
    """Every law: expression, parameters with intervals, errors, or why it was refused."""
    names = list(dict.fromkeys(name for entry in book.laws for name in entry["parameters"]))
    rows = [
        {
            "task": entry["task"],
            "method": entry["method"],
            "response": entry["response"].replace("_", " "),
            "factor": book.factor_words(entry),
            "form": form_words(entry["form"]),
            "expression": entry["expression"],
            "headline": "headlined" if book.headlined(entry) else "",
            **entry["parameters"],
            "points": entry["points"],
            "held": entry["held_out_points"],
            "fit": entry["fit_error"],
            "error": entry["held_out_error"]["all"],
            "refused": entry["refused"],
            "reason": entry.get("reason") if entry["refused"] else None,
        }
        for entry in book.laws
    ]
    columns = [
        Column("task", "task"),
        Column("response", "response"),
        Column("method", "method"),
        Column("factor", "over"),
        Column("form", "form"),
        Column("headline", "headline"),
        *[Column(name, name, bounds) for name in sorted(names, key=lambda n: "A B E alpha beta gamma tau".find(n))],
        Column("points", "points", count),
        Column("held", "held out", count),
        Column("fit", "fit error", four),
        Column("error", "held-out error", four),
        Column("expression", "expression"),
        Column("refused", "refused"),
        Column("reason", "why"),
    ]
    return Table(
        "laws",
        "Laws",
        "Parameters with 95 % intervals, given these base models; errors are mean absolute deviations in nats. X is the law\N{RIGHT SINGLE QUOTATION MARK}s factor, "
        "N model size, P pretraining tokens, T trained adapter parameters, D finetuning examples. Full precision stands in laws.json.",
        columns,
        rows,
    )


def error_table(book, tasks):
    """Fit and held-out error of every form beside the naive baselines."""
    rows = []
    for task in tasks:
        for response in dict.fromkeys(entry["response"] for entry in book.select(task)):
            for row in book.errors(task, response):
                rows.append(
                    {
                        "task": task,
                        "response": response.replace("_", " "),
                        "method": row["method"],
                        "factor": row["factor_words"],
                        "name": row["name"],
                        "kind": row["kind"],
                        "headline": "headlined" if row["headlined"] else "",
                        "fit": row["fit"],
                        "all": row["held_out"],
                        **{key: row["parts"].get(key) for key, _ in PARTS},
                    }
                )
    columns = [
        Column("task", "task"),
        Column("response", "response"),
        Column("method", "method"),
        Column("factor", "over"),
        Column("name", "form or baseline"),
        Column("kind", "kind"),
        Column("headline", "headline"),
        Column("fit", "fit", four),
        Column("all", "held out", four),
        *[Column(key, words, four) for key, words in PARTS],
    ]
    return Table(
        "errors",
        "Errors of forms and baselines",
        "Mean absolute deviation in nats, on the fitted cells and on cells held out inside the range, beyond it in model size, in data, or in both. "
        "Baselines: carry the last value; the log-log line through the last two points; a power law of its own at every level.",
        columns,
        rows,
        len(rows) > 24,
    )


def crossing_table(book):
    """Crossings, departures and ties of pairs of methods, from the paired differences and from the laws."""
    rows = []
    for item in book.crossings:
        paid = item["cost"] == "flops"
        examples = (item.get("flops") if paid else item["examples"]) or {}
        rows.append(
            {
                "task": item["task"],
                "response": item["response"].replace("_", " "),
                "factor": book.factor_words(item),
                "at": book.place_words(item),
                "pair": f"{item['first']} and {item['second']}",
                "source": "paired runs" if item["source"] == "data" else "laws",
                "kind": KINDS.get(item["kind"], item["kind"]),
                "leader": item["leader"],
                "equal": "FLOPs" if paid else "data",
                "value": None if paid else examples.get("value"),
                "flops": examples.get("value") if paid else None,
                "interval": numbers.interval(examples.get("low"), examples.get("high"), numbers.flops if paid else level) if examples else None,
                "chance": item.get("false_root_rate"),
                "inside": {True: "yes", False: "no"}.get(item["inside"]),
                "share": item["share"],
                "reason": item["refused"],
            }
        )
    columns = [
        Column("task", "task"),
        Column("response", "response"),
        Column("factor", "over"),
        Column("at", "at"),
        Column("pair", "methods"),
        Column("equal", "at equal"),
        Column("source", "seen in"),
        Column("kind", "what"),
        Column("leader", "ahead after"),
        Column("value", "examples", level),
        Column("flops", "FLOPs", numbers.flops),
        Column("interval", "95 % interval"),
        Column("inside", "inside the data"),
        Column("share", "share of draws", numbers.percent),
        Column("chance", "by chance", numbers.percent),
        Column("reason", "refused"),
    ]
    return Table(
        "crossings",
        "Where methods meet and part",
        "A crossing is where two methods change places; a departure, after a tie, is where they differ by more than max(0.01 nats, 2 standard errors). "
        "Equal FLOPs are those of one finetuning, without sweeps. By chance: how often laws that do not cross would show such a crossing. \N{LEFT DOUBLE QUOTATION MARK}none\N{RIGHT DOUBLE QUOTATION MARK} as a method is the untouched base.",
        columns,
        rows,
        len(rows) > 24,
    )


def map_table(book):
    """The map of winners in numbers: who has the lowest loss at every level and data size, and how sure that is."""
    share = lambda chances: numbers.listed([f"{'base' if m == 'none' else m} {numbers.percent(p)}" for m, p in sorted(chances.items(), key=lambda pair: -pair[1])])
    rows = [
        {
            "task": item["task"],
            "response": item["response"].replace("_", " "),
            "factor": book.factor_words(item),
            "at": book.place_words(item),
            "examples": item["examples"],
            "leader": item["leader"],
            "tied": numbers.listed([m for m in item["tied"] if m != item["leader"]]),
            "lead": share(item["lead"]) if item["lead"] else None,
            "law_lead": share(item["law_lead"]) if item["law_lead"] else None,
            "held": item["held_out"].replace("_", " "),
        }
        for item in book.map
    ]
    columns = [
        Column("task", "task"),
        Column("response", "response"),
        Column("factor", "over"),
        Column("at", "at"),
        Column("examples", "examples", count),
        Column("leader", "lowest mean"),
        Column("tied", "tied with"),
        Column("lead", "probability of the lowest loss"),
        Column("law_lead", "by the laws"),
        Column("held", "held out"),
    ]
    return Table(
        "winners",
        "Who wins where, and how sure",
        "The probability that each method, or the untouched base, has the lowest loss at a place, given the noise between seeds, of which the part that methods share on one "
        "subset of data counts for none of them. By the laws: the share of the laws\N{RIGHT SINGLE QUOTATION MARK} common draws in which each is lowest.",
        columns,
        rows,
        True,
    )


def correlation_table(book):
    """Pearson and Spearman of the test loss with every other metric."""
    rows = [
        {
            "task": item["task"],
            "metric": item["metric"],
            "method": item["method"],
            "rows": item["rows"],
            **{f"{kind}_{part}": (item[kind] or {}).get(part) for kind in ("pearson", "spearman") for part in "rp"},
        }
        for item in book.correlations
        if item["pearson"] or item["spearman"]
    ]
    small = lambda v: significant(v, 2)
    columns = [
        Column("task", "task"),
        Column("metric", "metric"),
        Column("method", "method"),
        Column("pearson_r", "Pearson", signed),
        Column("pearson_p", "p", small),
        Column("spearman_r", "Spearman", signed),
        Column("spearman_p", "p", small),
        Column("rows", "runs", count),
    ]
    return Table(
        "correlations",
        "Loss against the metrics",
        "Correlation of test loss with each metric over all runs of a method; \N{MINUS SIGN}1 says that a lower loss always comes with a higher score.",
        columns,
        rows,
    )
