"""Builds results folders for the tests of the reports room, by code, from losses whose truth is known."""

import csv
import hashlib
import json
import math
import random

COLUMNS = [
    "task",
    "method",
    "model_size",
    "model_parameters",
    "non_embedding_parameters",
    "pretraining_tokens",
    "finetuning_examples",
    "finetuning_tokens",
    "peft_parameters",
    "rank",
    "prompt_length",
    "learning_rate",
    "seed",
    "held_out",
    "dev_loss",
    "test_loss",
    "untuned_loss",
    "pretraining_loss",
    "pretraining_loss_before",
    "train_loss",
    "test.loss",
    "test.bleu",
    "test.chrf",
    "key",
    "status",
    "base",
    "steps",
    "best_step",
    "examples_seen",
    "epochs",
    "flops",
    "seconds",
    "device",
]
SIZES = {"xs": 18552, "s": 73968, "m": 295392}
LEVELS = (256, 1024, 4096, 16384)
TOKENS = 3_932_160
GAIN = {"full": (0.0011, 0.68), "lora": (0.0035, 0.49), "prompt": (0.006, 0.22)}


def base_loss(size, tokens):
    """The untouched base: falls with parameters and pretraining tokens."""
    return 1.6 + 12.0 * SIZES[size] ** -0.25 * (tokens / TOKENS) ** -0.08


def tuned_loss(method, size, tokens, examples, rank=4):
    """Falls from the base by a method's own power of the data; never above the base."""
    scale, power = GAIN[method]
    gained = scale * examples**power * (rank / 4) ** 0.05 * (SIZES[size] / SIZES["s"]) ** -0.05
    return base_loss(size, tokens) - gained


def row(method, size, tokens, examples, seed, rank=None, task="translation", loss=None, noise=0.004, held_out=""):
    """One row of results.csv."""
    draw = random.Random(f"{method}{size}{tokens}{examples}{seed}{rank}{task}")
    shared = random.Random(f"{size}{tokens}{examples}{seed}{task}").gauss(0, 0.006)
    base = base_loss(size, tokens)
    out = dict.fromkeys(COLUMNS, "")
    out.update(
        task=task,
        method=method,
        model_size=size,
        model_parameters=SIZES[size] + 20000,
        non_embedding_parameters=SIZES[size],
        pretraining_tokens=tokens,
        finetuning_examples=examples,
        untuned_loss=base,
        pretraining_loss_before=base + 0.3,
        status="ok",
        base="b" * 20,
        device="cpu:x86_64",
        key=hashlib.sha256(repr((task, method, size, tokens, examples, seed, rank)).encode()).hexdigest()[:20],
        held_out=held_out,
    )
    if method == "none":
        out.update(test_loss=base, pretraining_loss=base + 0.3, seconds=0.4, flops=10**9)
    else:
        mean = tuned_loss(method, size, tokens, examples, rank or 4) if loss is None else loss
        value = min(base, mean + shared + draw.gauss(0, noise))
        forget = {"full": 1.9, "lora": 0.5, "prompt": 0.15}.get(method, 0.3) * math.log2(1 + examples / 1024)
        out.update(
            test_loss=value,
            dev_loss=value + 0.01,
            train_loss=value - 0.1,
            pretraining_loss=base + 0.3 + forget,
            seed=seed,
            learning_rate=1e-3,
            rank=rank or (4 if method == "lora" else ""),
            prompt_length=8 if method == "prompt" else "",
            peft_parameters={"lora": 300 * (rank or 4), "prompt": 512}.get(method, SIZES[size]),
            steps=400,
            best_step=380,
            epochs=3,
            examples_seen=12800,
            flops=3 * 10**11,
            seconds=3.5,
            finetuning_tokens=examples * 18,
        )
    out["test.loss"] = out["test_loss"]
    out["test.bleu"], out["test.chrf"] = 40 * math.exp(-out["test_loss"]), 70 * math.exp(-0.5 * out["test_loss"])
    return out


def grid_rows(task="translation", methods=("full", "lora", "prompt"), seeds=(0, 1), hold_out=16384, loss=None):
    """The quickstart's grid: sizes x methods x data, two more pretraining levels, LoRA ranks. `loss(method, size, examples)` replaces the truth."""
    rows = [row("none", size, TOKENS, 0, "", task=task) for size in SIZES]
    for size in SIZES:
        for examples in LEVELS:
            for method in methods:
                for seed in seeds:
                    rows.append(
                        row(
                            method,
                            size,
                            TOKENS,
                            examples,
                            seed,
                            task=task,
                            held_out="edge_data" if examples == hold_out else "",
                            loss=loss(method, size, examples) if loss else None,
                        )
                    )
    for tokens in (TOKENS // 4, TOKENS // 2):
        rows.append(row("none", "s", tokens, 0, "", task=task))
        for method in methods:
            rows += [row(method, "s", tokens, examples, 0, task=task) for examples in (256, 4096)]
    if "lora" in methods:
        rows += [row("lora", "s", TOKENS, examples, 0, rank=rank, task=task) for rank in (1, 2, 8) for examples in (256, 4096)]
    return rows


DEFAULTS = {"model_size": "s", "pretraining_tokens": TOKENS, "rank": {"lora": 4}, "prompt_length": {"prompt": 8}}
REQUEST = {
    "responses": ["test_loss"],
    "factors": ["non_embedding_parameters"],
    "forms": ["multiplicative"],
    "intervals": "none",
    "defaults": DEFAULTS,
}


def trial_rows():
    """Sweep and budget-check rows."""
    rows = []
    for level, examples in (("xs d256", 256), ("s d4096", 4096)):
        for method in ("full", "lora", "prompt"):
            for place, rate in enumerate((3e-4, 1e-3, 3e-3)):
                best = place == (2 if method == "lora" else 1)
                rows.append(
                    {
                        "role": "sweep",
                        "level": level,
                        "task": "translation",
                        "method": method,
                        "model_size": level.split()[0],
                        "finetuning_examples": examples,
                        "learning_rate": rate,
                        "seed": 0,
                        "dev_loss": 2.2 + 0.05 * (not best),
                        "steps": 200,
                        "best_step": 180,
                        "chosen": int(best),
                        "at_edge": "high" if best and place == 2 else "",
                        "flops": 1e11,
                        "seconds": 2.0,
                        "key": "f" * 20,
                    }
                )
    rows.append(
        {
            "role": "budget_check",
            "level": "",
            "task": "translation",
            "method": "full",
            "model_size": "xs",
            "finetuning_examples": 16384,
            "learning_rate": 1e-3,
            "seed": 0,
            "dev_loss": 2.0,
            "cell_dev_loss": 2.05,
            "gain": 0.05,
            "steps": 3200,
            "best_step": 3100,
            "chosen": "",
            "at_edge": "",
            "flops": 1e12,
            "seconds": 9.0,
            "key": "e" * 20,
        }
    )
    return rows


RUN = {
    "tunelaw": "0.1.0",
    "versions": {"jax": "0.10.2", "flax": "0.12.8"},
    "device": "cpu:x86_64",
    "seconds": 321.5,
    "training_seconds": 201.0,
    "training_share": 0.3126,
    "workers": 2,
    "flops": 3.1e13,
    "started": "2026-11-22T10:00:00Z",
    "finished": "2026-11-22T10:05:21Z",
    "jobs": {"total": 120, "done": 120, "failed": [], "by_role": {"finetune/cell": 90}},
    "data": {"entropy": None},
    "stages": {"pretrain": 60.2, "sweep": 41.0, "finetune": 180.0, "evaluate": 31.0, "fit": 3.2},
}


def write_folder(
    path, rows=None, laws=None, trials=None, run=None, name="quickstart", about="Which method wins, and at how much data?", request=None
):
    """Writes a results folder, its laws fitted by the laws room unless they are given, and returns its path."""
    path.mkdir(parents=True, exist_ok=True)
    write_csv(path / "results.csv", grid_rows() if rows is None else rows, COLUMNS)
    trials = trial_rows() if trials is None else trials
    if trials:
        write_csv(path / "trials.csv", trials, list(dict.fromkeys(key for r in trials for key in r)))
    if laws is None:
        import laws as room

        room.write(room.fit_table(str(path), request or REQUEST), path)
    else:
        (path / "laws.json").write_text(json.dumps(laws), encoding="utf-8")
    plan = {"tunelaw": 1, "study": name, "about": about, "jobs": [], "laws": request or REQUEST, "design": {"methods": ["full", "lora", "prompt"]}}
    (path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    (path / "run.json").write_text(json.dumps(RUN if run is None else run), encoding="utf-8")
    return path


def write_csv(path, rows, columns):
    """Writes rows of dicts."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
