"""A realistic results.csv and trials.csv from known laws: 3 sizes, 3 methods and the base, pretraining levels, ranks, hold-outs, seeds."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

SIZES = {"xs": (18_552, 30_840), "s": (73_968, 98_544), "m": (295_392, 344_544)}  # non-embedding, all
LEVELS = (491_520, 983_040, 1_966_080, 3_932_160)
DATA = (256, 1024, 4096, 16384)
RANKS = (1, 2, 4, 8, 16)
TRUE = {  # A, alpha (size), gamma (pretraining), beta, E of the test loss
    "full": (10.25, 0.10, 0.12, 0.17, 1.06),
    "lora": (6.6, 0.10, 0.12, 0.085, 1.01),
    "prompt": (1.5, 0.10, 0.12, 0.02, 1.90),
}
COLUMNS = (
    "task method model_size model_parameters non_embedding_parameters pretraining_tokens finetuning_examples finetuning_tokens peft_parameters rank "
    "prompt_length learning_rate seed held_out dev_loss test_loss untuned_loss pretraining_loss pretraining_loss_before train_loss test.loss test.bleu "
    "test.chrf key status base steps best_step examples_seen epochs flops seconds device"
).split()
TRIALS = (
    "role level task method model_size non_embedding_parameters pretraining_tokens finetuning_examples rank prompt_length learning_rate seed dev_loss "
    "trained_dev_loss untuned_dev_loss steps best_step chosen at_edge cell_dev_loss gain key status flops seconds"
).split()
REQUEST = {
    "responses": ["test_loss", "pretraining_loss"],
    "factors": ["non_embedding_parameters", "pretraining_tokens", "peft_parameters"],
    "forms": ["multiplicative", "additive"],
    "shared_across": {},
    "stages": "joint",
    "fit": {"loss": "huber", "delta": "auto", "residual": "level"},
    "intervals": "auto",
    "defaults": {"model_size": "s", "pretraining_tokens": 3_932_160, "rank": {"lora": 4}, "prompt_length": {"prompt": 8}},
}


def true_loss(method, size, pretraining, data, rank=4):
    """The law that the table is drawn from (nats per target token)."""
    a, alpha, gamma, beta, e = TRUE[method]
    tau = 0.02 if method == "lora" else 0.0
    return a * size**-alpha * (pretraining / 3_932_160) ** -gamma * (rank / 4) ** -tau * data**-beta + e


def peft_parameters(method, size_name, rank, length):
    """A count that is plausible for the shape, empty for full."""
    width = {"xs": 24, "s": 48, "m": 96}[size_name]
    return {"full": "", "lora": (rank or 0) * width * 40, "prompt": (length or 0) * width}[method]


def rows(seeds: int = 2, noise: float = 0.006, held_out=(16384,), best_dev: bool = True) -> list[dict]:
    """Rows of results.csv as dicts; the same every time."""
    rng = np.random.default_rng(7)
    out, subset = [], {}

    def base_of(size_name, pretraining):
        size = SIZES[size_name][0]
        return true_loss("prompt", size, pretraining, 256) + 0.015

    def row(method, size_name, pretraining, data, rank, length, seed):
        size, total = SIZES[size_name]
        base = base_of(size_name, pretraining)
        shared = subset.setdefault((size_name, pretraining, data, seed), rng.normal(0, noise / 2))
        loss = true_loss(method, size, pretraining, data, rank or 4) + shared + rng.normal(0, noise)
        step = 120
        if best_dev and loss > base:
            loss, step = base, 0
        before = 1.45 + 0.2 * (size / 18_552) ** -0.1
        grow = {"full": 0.30, "lora": 0.12, "prompt": 0.03}[method]
        forgetting = before + (grow * (data / 256) ** 0.4 * (size / 73_968) ** -0.05 * (1 + rng.normal(0, 0.02)))
        default = (size_name, pretraining, rank or 4) == ("s", LEVELS[-1], 4) or pretraining == LEVELS[-1]
        held = "edge_data" if data in held_out and default else ""
        batch, steps = 32, max(200, 3 * data // 32)
        return dict(
            task="translation", method=method, model_size=size_name, model_parameters=total, non_embedding_parameters=size,
            pretraining_tokens=pretraining, finetuning_examples=data, finetuning_tokens=data * 18, peft_parameters=peft_parameters(method, size_name, rank, length),
            rank=rank or "", prompt_length=length or "", learning_rate={"full": 1e-3, "lora": 3e-3, "prompt": 3e-2}[method], seed=seed, held_out=held,
            dev_loss=loss + 0.004, test_loss=loss, untuned_loss=base, pretraining_loss=forgetting, pretraining_loss_before=before, train_loss=loss - 0.05,
            **{"test.loss": loss, "test.bleu": 60 - 20 * loss + rng.normal(0, 0.3), "test.chrf": 80 - 20 * loss + rng.normal(0, 0.3)},
            key=f"{len(out):020x}", status="ok", base=f"base-{size_name}-{pretraining}", steps=steps, best_step=step, examples_seen=steps * batch,
            epochs=steps * batch / data, flops=6 * size * steps * batch * 32, seconds=round(float(rng.uniform(1, 9)), 3), device="cpu",
        )  # fmt: skip

    seen = set()

    def add(*cell):
        if cell not in seen:
            seen.add(cell)
            out.append(row(*cell))

    for seed in range(seeds):
        for method, rank, length in (("full", None, None), ("lora", 4, None), ("prompt", None, 8)):
            for size_name in SIZES:
                for data in DATA:
                    add(method, size_name, LEVELS[-1], data, rank, length, seed)
            for level in LEVELS:
                for data in (256, 1024, 4096):
                    add(method, "s", level, data, rank, length, seed)
        for rank in RANKS:
            for data in (256, 4096):
                add("lora", "s", LEVELS[-1], data, rank, None, seed)
    for size_name in SIZES:
        for level in LEVELS:
            if level == LEVELS[-1] or size_name == "s":
                size, total = SIZES[size_name]
                base = base_of(size_name, level)
                before = 1.45 + 0.2 * (size / 18_552) ** -0.1
                out.append({
                    **{c: "" for c in COLUMNS}, "task": "translation", "method": "none", "model_size": size_name, "model_parameters": total,
                    "non_embedding_parameters": size, "pretraining_tokens": level, "finetuning_examples": 0, "dev_loss": base + 0.004, "test_loss": base,
                    "untuned_loss": base, "pretraining_loss": before, "pretraining_loss_before": before, "test.loss": base, "test.bleu": 60 - 20 * base,
                    "test.chrf": 80 - 20 * base, "key": f"{len(out):020x}", "status": "ok", "base": f"base-{size_name}-{level}", "seconds": 0.5, "device": "cpu",
                })  # fmt: skip
    return out


def trial_rows() -> list[dict]:
    """Rows of trials.csv: a winner on the edge (lora), corners that disagree (prompt), a budget check that gains (full)."""
    grids = {"full": (3e-4, 1e-3, 3e-3), "lora": (1e-3, 3e-3, 1e-2), "prompt": (1e-2, 3e-2, 1e-1)}
    winners = {"full": (1e-3, 1e-3), "lora": (1e-2, 3e-3), "prompt": (1e-2, 1e-1)}
    out = []
    for method, grid in grids.items():
        for corner, (size_name, data) in enumerate((("xs", 256), ("s", 4096))):
            for rate in grid:
                chosen = rate == winners[method][corner]
                edge = ("low" if rate == grid[0] else "high" if rate == grid[-1] else "") if chosen else ""
                out.append({
                    **{c: "" for c in TRIALS}, "role": "sweep", "level": f"{size_name} d{data}", "task": "translation", "method": method,
                    "model_size": size_name, "non_embedding_parameters": SIZES[size_name][0], "pretraining_tokens": LEVELS[-1], "finetuning_examples": data,
                    "rank": 4 if method == "lora" else "", "prompt_length": 8 if method == "prompt" else "", "learning_rate": rate, "seed": 0,
                    "dev_loss": 2.0 - 0.1 * chosen, "trained_dev_loss": 2.0 - 0.1 * chosen, "untuned_dev_loss": 2.2, "steps": 200, "best_step": 100,
                    "chosen": int(chosen), "at_edge": edge, "key": f"t{len(out)}", "status": "ok", "flops": 1, "seconds": 1.0,
                })  # fmt: skip
        out.append({
            **{c: "" for c in TRIALS}, "role": "budget_check", "level": "xs d16384", "task": "translation", "method": method, "model_size": "xs",
            "non_embedding_parameters": SIZES["xs"][0], "pretraining_tokens": LEVELS[-1], "finetuning_examples": 16384, "learning_rate": grid[1], "seed": 0,
            "dev_loss": 1.9, "cell_dev_loss": 1.95 if method == "full" else 1.901, "gain": 0.05 if method == "full" else 0.001, "chosen": 0,
            "steps": 3000, "best_step": 2900, "key": f"t{len(out)}", "status": "ok", "flops": 1, "seconds": 1.0,
        })  # fmt: skip
    return out


def save(path, table: list[dict], columns=COLUMNS) -> Path:
    """Write rows as CSV."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({k: repr(v) if isinstance(v, float) else v for k, v in r.items()} for r in table)
    return path


def save_run(folder, seeds: int = 2, **options) -> Path:
    """A run folder with results.csv and trials.csv."""
    folder = Path(folder)
    save(folder / "results.csv", rows(seeds, **options))
    save(folder / "trials.csv", trial_rows(), TRIALS)
    return folder


def columns(table: list[dict]) -> dict[str, list]:
    """Rows as a dict of columns, what `laws.read_table` also takes."""
    return {name: [r[name] for r in table] for name in table[0]}
