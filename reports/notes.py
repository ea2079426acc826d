"""Warnings: from the laws, the trials and the table itself, each in plain words and with what to do next."""

from reports import numbers

ADVICE = {
    "LR_EDGE": "Add a learning rate beyond that end of the sweep and run again: only the sweep and the cells whose rate changes are run.",
    "LR_VARIES": "Sweep at each data size: write `learning_rate: {sweep: [...], per: [finetuning_examples]}` for this method.",
    "LR_FROZEN": "Sweep the learning rate instead of fixing it, or read every comparison as \N{LEFT DOUBLE QUOTATION MARK}at these learning rates\N{RIGHT DOUBLE QUOTATION MARK}.",
    "BUDGET_LIMITED": "Raise `finetune.steps` (more epochs) and run again: until then the effect of data is partly an effect of training time.",
    "WORSE_THAN_BASE": "Look at the sweep: smaller learning rates may help; otherwise this method has nothing to offer with so few examples.",
    "DIVERGED": "Widen the sweep towards smaller learning rates, or clip harder; these runs stand in no mean.",
    "NO_HOLD_OUT": "Add `design.hold_out`, for example the largest data size, so that the laws can be judged on what they have not seen.",
    "ONE_SEED": "Raise `design.seeds` to at least 2: without them chance cannot be told from a difference.",
    "FEW_SIZES": "Add a fourth model size before trusting an exponent of model size beyond these models.",
    "FEW_LEVELS": "Add levels of this factor: three or fewer describe it, they cannot test a law.",
    "E_AT_BOUND": "Add larger data sizes: the floor of the loss is not seen yet, so do not read E or extrapolate far.",
    "EXPONENT_HOLDS_ZERO": "Widen the range of this factor, or take its effect as not measurable here.",
    "RANKING_REVERSES": "Do not read the order of methods beyond the measured data sizes.",
    "CARRY_TIE": "Add larger data sizes: within the measured range the last value is as good a guess as any law.",
    "SHARED_BASES": "Intervals are for these base models; pretrain more bases to speak about new ones.",
    "SHARED_DATA": "Provide a training pool of at least four times the largest data size, so that seeds draw different data.",
    "EMBEDDING_SHARE": "Use a smaller vocabulary or wider models: embeddings hold much of the weights.",
    "RAW_CHECKPOINTS": "Use `checkpoints: {kind: decayed}`: points of one cosine run are not models trained to that budget.",
    "TOO_FEW_POINTS": "Add cells, or ask for a form with fewer parameters.",
    "NOT_CONVERGED": "Treat the parameters as unknown; another form or more points may be fitted.",
}


def advice(name):
    """What to do about a warning."""
    return ADVICE.get(name, f"`tunelaw help {name}` says what it means and what to do.")


def collect(measured, book, trials):
    """All warnings as [{id, task, subject, message, advice, times}], the same ones counted together, in a stable order."""
    found = {}

    def add(name, task, subject, message):
        place = (name, task, subject)
        if place in found:
            found[place]["times"] += 1
        else:
            found[place] = {"id": name, "task": task, "subject": subject, "message": message, "advice": advice(name), "times": 1}

    for entry in book.laws:
        subject = f"{entry['method']}, {book.factor_words(entry)}, {entry['response'].replace('_', ' ')}"
        for warning in entry.get("warnings") or []:
            add(identity(warning), entry["task"], subject, message_of(warning))
        if entry.get("refused"):
            add(identity(entry["refused"]), entry["task"], subject, f"The {entry['form']} law was not fitted. {message_of(entry['refused'])}".strip())
    for warning in book.warnings:
        add(identity(warning), warning.get("task", "") if isinstance(warning, dict) else "", warning.get("method", "") if isinstance(warning, dict) else "", message_of(warning))
    for row in measured.diverged:
        add("DIVERGED", row.get("task") or "task", row.get("method") or "model", "A run diverged and counts nowhere.")
    for row in trials:
        if row.get("chosen") in ("1", "True", "true") and row.get("at_edge"):
            end = "highest" if row["at_edge"] == "high" else "lowest"
            add("LR_EDGE", row.get("task") or "task", row.get("method") or "model",
                f"The best learning rate at {row.get('level') or 'a corner'} is the {end} that was tried ({numbers.significant(row.get('learning_rate'), 2)}): a better one may lie beyond.")
    for task in measured.tasks:
        from_table(measured, task, add)
    return sorted(found.values(), key=lambda item: (item["task"], item["id"], item["subject"]))


def from_table(measured, task, add):
    """Warnings that the results table itself gives rise to."""
    for method in measured.methods(task):
        cells = measured.at_default(task, method)
        worse = [cell for cell in cells if cell.seeds and all(row.get("best_step") == 0 for row in cell.seeds.values())]
        if worse:
            add("WORSE_THAN_BASE", task, method, f"{len(worse)} of {numbers.plural(len(cells), 'cell')} keep the untouched base: no step of training improved it.")
        if cells and max(len(cell.seeds) for cell in cells) < 2:
            add("ONE_SEED", task, method, "Every cell was run with one seed: nothing is known about chance.")


def identity(warning):
    """The id of a warning, which laws.json holds as text or as an object."""
    if isinstance(warning, dict):
        return str(warning.get("id") or "WARNING")
    return str(warning).split(":")[0].split(" ")[0]


def message_of(warning):
    """What a warning says, without its id."""
    if isinstance(warning, dict):
        return str(warning.get("message") or "")
    head, _, rest = str(warning).partition(":")
    return rest.strip() if rest else ("" if " " not in head else head)
