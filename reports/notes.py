"""Warnings: from the laws and from the runs, each in plain words and with what to do next."""

ADVICE = {  # the gravest first: the order in which a report shows them
    "BUDGET_LIMITED": "Raise `finetune.steps` (more epochs) and run again: until then the effect of data is partly an effect of training time.",
    "LR_EDGE": "Add a learning rate beyond that end of the sweep and run again: only the sweep and the cells whose rate changes are run.",
    "LR_VARIES": "Sweep at each data size: `learning_rate: {sweep: [...], per: [finetuning_examples]}` for this method.",
    "WORSE_THAN_BASE": "Try smaller learning rates; where they do not help, this method has nothing to offer with so few examples.",
    "NO_SEEDS": "Raise `design.seeds` to at least 2: without them chance cannot be told from a difference.",
    "NO_HELD_OUT": "Add `design.hold_out`, for example the largest data size, so that the laws are judged on what they have not seen.",
    "DIVERGED_CELLS": "Widen the sweep towards smaller learning rates, or clip harder; these runs stand in no mean.",
    "RANKING_REVERSES": "Do not read the order of methods beyond the measured data sizes.",
    "SHARED_SUBSETS": "Provide a training pool of at least four times the largest data size, so that seeds draw different data.",
    "LR_FROZEN": "Sweep the learning rate at each level of this factor with `per`, or read the exponent as \N{LEFT DOUBLE QUOTATION MARK}at this learning rate\N{RIGHT DOUBLE QUOTATION MARK}.",
    "FEW_LEVELS": "Add levels of this factor (four or more) before extrapolating along it.",
    "BOUND_REACHED": "Add larger data sizes or more levels: this parameter is not determined, so do not read it alone or extrapolate far.",
    "INTERVAL_HOLDS_ZERO": "Widen the range of this factor or add seeds; until then take its effect as not measurable here.",
    "NOT_SEPARABLE": "Prefer the law of each level, or a form in which the exponent of data depends on the size.",
    "TOO_FEW_POINTS": "Add cells, or ask for a form with fewer parameters.",
    "TOO_FEW_LEVELS": "Add levels of this factor to a grid.",
    "CONSTANT_RESPONSE": "Look at the sweep: every cell kept the untouched base.",
    "NOT_CONVERGED": "Treat the parameters as unknown; try another form or add points.",
    "STARTS_DISAGREE": "Treat the parameters as uncertain; try a form with fewer parameters or add points.",
    "MISSING_CELLS": "`tunelaw status` says what failed; run again to fill the gaps.",
    "FACTOR_NOT_VARIED": "Add a grid that varies this factor, or take it out of `laws.factors`.",
    "TOO_LONG": "Raise `lengths` of the task (and the pretraining length with it), or take a larger vocabulary; texts that were cut score another task.",
    "TRAIN_DEV_OVERLAP": "Take the shared examples out of one of the two files: until then the dev loss flatters whoever memorises.",
    "ZERO_DATA": "Nothing: the untouched base is compared, not fitted.",
}


def advice(name):
    """What to do about a warning."""
    from laws import ADVICE as OF_LAWS

    return ADVICE.get(name) or OF_LAWS.get(name, f"`tunelaw help {name}` says what it means and what to do.")


def collect(measured, book, run):
    """All warnings as [{id, task, subject, message, advice, times}], the gravest first; those that say the same are one.

    `run`: the content of run.json, whose notes are what the jobs remarked on their data.
    """
    found = {}

    def add(name, task, subject, message):
        item = found.setdefault(
            (name, task, message), {"id": name, "task": task, "subject": [], "message": message, "advice": advice(name), "times": 0}
        )
        item["times"] += 1
        if subject and subject not in item["subject"]:
            item["subject"].append(subject)

    for entry in book.laws:
        subject = f"{entry['method']}: {book.factor_words(entry)}, {entry['response'].replace('_', ' ')}"
        for warning in entry["warnings"]:
            add(warning["id"], entry["task"], subject, sentence(warning["message"]))
        if entry["refused"]:
            add(
                entry["refused"], entry["task"], subject, sentence(entry.get("reason") or f"the {entry['form'].replace('_', ' ')} law was not fitted")
            )
    for warning in book.warnings:
        task = warning.get("task") or (measured.tasks[0] if len(measured.tasks) == 1 else "")
        add(warning["id"], task, warning.get("method") or warning.get("factor") or warning.get("response") or "", sentence(warning["message"]))
    for note in run.get("notes") or []:
        for _ in range(note["jobs"]):
            add(note["id"], note["task"], "", sentence(note["message"]))
    if measured.diverged and not any(item["id"] == "DIVERGED_CELLS" for item in found.values()):
        for row in measured.diverged:
            add("DIVERGED_CELLS", row.get("task") or "task", row.get("method") or "model", "A run diverged and counts nowhere.")
    order = {name: place for place, name in enumerate(ADVICE)}
    items = sorted(found.values(), key=lambda item: (order.get(item["id"], len(order)), item["task"], item["message"]))
    return [{**item, "subject": "; ".join(item["subject"])} for item in items]


def main_points(warnings, known):
    """One point a kind of warning, for the top of the report: [{id, tasks, methods, message}], the gravest first."""
    from laws import EXPLAIN

    groups = {}
    for item in warnings:
        groups.setdefault(item["id"], []).append(item)
    points = []
    for name, items in groups.items():
        methods = dict.fromkeys(part.split(":")[0] for item in items for part in item["subject"].split("; ") if part.split(":")[0] in known)
        message = items[0]["message"] if len({item["message"] for item in items}) == 1 else EXPLAIN.get(name, items[0]["message"])
        points.append({"id": name, "tasks": sorted({item["task"] for item in items if item["task"]}), "methods": list(methods), "message": message})
    return points


def sentence(text):
    """A message with a full stop."""
    text = str(text).strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
