"""Tiny finished jobs for tests: a tokenizer, base models and finetuned models in a store, without any training."""

import json
import random
import shutil
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp

from runtime import checkpoints, methods, tokenizers
from runtime.data.rows import write_rows, write_sources
from runtime.model import Shape, init_weights
from runtime.store import Store, job_key

PRECISION = {"compute": "float32", "weights": "float32", "frozen": "float32"}
TASK = {"kind": "translation", "template": "{source} =>", "lengths": {"source": 20, "target": 12, "too_long": "cut_source"}}
ALL = ["down", "gate", "key", "output", "query", "up", "value"]
METHODS = {
    "full": {"name": "full"},
    "lora": {"name": "lora", "rank": 3, "alpha": 6.0, "scale": "alpha/rank", "targets": ALL},
    "lora-sqrt": {"name": "lora", "rank": 4, "alpha": 3.0, "scale": "alpha/sqrt(rank)", "targets": ["key", "query", "up"]},
    "lora-none": {"name": "lora", "rank": 2, "alpha": 7.0, "scale": "none", "targets": ["down", "gate", "output", "value"]},
    "prompt": {"name": "prompt", "prompt_length": 5, "init": "vocabulary"},
}
SHAPES = {
    "mqa tied swiglu": dict(heads=4, kv_heads=1, tied_embeddings=True, mlp_kind="swiglu", rope_base=10000.0),
    "gqa untied geglu": dict(heads=4, kv_heads=2, tied_embeddings=False, mlp_kind="geglu", rope_base=500.0),
    "mha wide heads": dict(heads=2, kv_heads=2, tied_embeddings=True, mlp_kind="swiglu", rope_base=10000.0, head_width=16),
}


def shape_of(kind, vocabulary):
    return Shape(**{"layers": 2, "width": 32, "head_width": 8, "mlp": 48, "norm_epsilon": 1e-5, "vocabulary": vocabulary, **SHAPES[kind]})


@lru_cache(maxsize=None)
def sentences(count=400, seed=0):
    """Sentences of made-up words."""
    draw = random.Random(seed)
    words = ["".join(draw.choice("bdfgklmnprst") + draw.choice("aeiou") for _ in range(draw.choice((1, 2, 2, 3)))) for _ in range(150)]
    return tuple(" ".join(draw.choice(words) for _ in range(draw.randrange(3, 9))) for _ in range(count))


@lru_cache(maxsize=None)
def tokenizer_bytes(vocabulary=96):
    return tokenizers.train(list(sentences()), "unigram", vocabulary)


def publish(store, kind, role, identity, files, **more):
    """Publishes a job and returns its key: `files` fills its staging folder."""
    identity = {**identity, "kind": kind, "role": role, "version": 1}
    key = job_key(identity)
    _, staging = store.begin(key)
    files(staging)
    record = {
        "key": key, "kind": kind, "role": role, "status": "ok", "identity": identity, "factors": {}, "metrics": {},
        "training": None, "run": {}, **more,
    }
    store.publish(key, record, staging)
    return key


def tokenizer(store):
    return publish(store, "tokenizer", "tokenizer", {}, lambda f: (f / "tokenizer.model").write_bytes(tokenizer_bytes()))


def widened(tree, seed, by=0.3):
    """The tree with noise on every leaf, so that a mistake in any of them shows."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(seed), len(leaves) + 1)
    return structure.unflatten(x + by * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys))


def base_weights(shape, seed=0, widen=2):
    """Weights that give answers which are far from uniform; `widen` makes attention sharp, and gradients small."""
    weights = init_weights(shape, jax.random.key(seed))
    weights = dict(weights, embed=weights["embed"] * 10, layers=jax.tree.map(lambda w: widen * w, weights["layers"]))
    if not shape.tied_embeddings:
        weights["unembed"] = weights["unembed"] * 15
    return dict(weights, final_norm=widened(weights["final_norm"], 5))


def level(store, shape, tokenizer_key, seed=0, widen=2):
    """A base model: its key and its weights."""
    weights = base_weights(shape, seed, widen)
    identity = {"trunk": None, "shape": vars(shape), "tokenizer": tokenizer_key, "precision": PRECISION, "sequence_length": 32, "seed": seed}
    key = publish(store, "pretrain", "level", identity, lambda f: checkpoints.save(f / "weights", weights), factors={"model_size": "xs"})
    return key, weights


def finetuned(store, shape, base, weights, tokenizer_key, name, kept=7):
    """A finetuning of `name` in METHODS that "trained" noise; returns (key, method, trained)."""
    method = methods.of(METHODS[name])
    trained = method.init(shape, weights, jax.random.key(3), jnp.float32)
    trained = widened(trained, 4, by=0.02 if name == "full" else 0.2)
    identity = {
        "base": base, "tokenizer": tokenizer_key, "shape": vars(shape), "precision": PRECISION, "task": TASK, "method": METHODS[name], "seed": kept,
    }

    def files(folder):
        checkpoints.save(folder / "trained", trained)
        (folder / "kept.json").write_text(json.dumps({"step": kept}))

    factors = {"task": "toy", "method": METHODS[name]["name"], "rank": METHODS[name].get("rank")}
    return publish(store, "finetune", "cell", identity, files, factors=factors), method, trained


class Made:
    """A store with a tokenizer, a base and finetuned models: `keys` holds `tokenizer`, `base` and the names of METHODS."""

    def __init__(self, folder, kind="mqa tied swiglu", names=tuple(METHODS), widen=2):
        shutil.rmtree(folder, ignore_errors=True)
        self.store = Store(Path(folder))
        self.keys = {"tokenizer": tokenizer(self.store)}
        self.tokenizer = tokenizers.load(self.store.artifact(self.keys["tokenizer"]))
        self.shape = shape_of(kind, self.tokenizer.vocabulary)
        self.keys["base"], self.weights = level(self.store, self.shape, self.keys["tokenizer"], widen=widen)
        self.tuned = {"base": (methods.of({"name": "none"}), {})}
        for name in names:
            key, *self.tuned[name] = finetuned(self.store, self.shape, self.keys["base"], self.weights, self.keys["tokenizer"], name)
            self.keys[name] = key


def examples(count, seed=0, references=1):
    """Rows of a data artifact: the target is the source's words backwards."""
    rows = []
    for text in sentences(count, seed):
        turned = " ".join(reversed(text.split()))
        rows.append({"source": text, "targets": [turned, text][:references], "language": "en", "origin": 0})
    return rows


def data(store, **parts):
    """A data artifact with the rows of each part (train, dev, test, or text for pretraining text); returns its key."""

    def files(folder):
        for part, rows in parts.items():
            write_rows(folder / f"{part}.jsonl", rows)
        write_sources(folder, {part: [{"share": 1.0, "rows": len(rows)}] for part, rows in parts.items()})

    role = "test_set" if "test" in parts else "examples"
    return publish(store, "data", role, {"made": [len(rows) for rows in parts.values()]}, files)


def evaluate_job(made, name, sets, **more):
    """An evaluate job of the model `name` of a Made store."""
    method = {"name": "none"} if name == "base" else METHODS[name]
    identity = {
        "kind": "evaluate", "version": 1, "model": made.keys[name], "base": made.keys["base"], "tokenizer": made.keys["tokenizer"],
        "task": TASK, "sets": sets, "decoding": {"max_tokens": 10}, "pretraining_text": None, "sequence_length": 16, "dev_data": None,
        "precision": PRECISION, "shape": vars(made.shape), "method": method, **more,
    }
    return {"kind": "evaluate", "role": "cell", "key": job_key(identity), "name": f"evaluate/{name}", "identity": identity, "factors": {}}


def evaluate(made, folder, *arguments, **more):
    """Runs such a job; returns the record's body and the rows of outputs.jsonl."""
    from runtime import jobs

    folder.mkdir(exist_ok=True, parents=True)
    context = jobs.Context(staging=folder, resume=folder, store=made.store)
    body = jobs.run(evaluate_job(made, *arguments, **more), made.store, context)
    return body, [json.loads(line) for line in (folder / "outputs.jsonl").read_text(encoding="utf-8").splitlines()]
