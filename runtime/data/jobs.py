"""Runs data and tokenizer jobs: from identity and paths to an artifact and the body of its record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from runtime import tokenizers
from runtime.data.entropy import expected_entropy, rows_entropy
from runtime.data.files import digest_of, open_verified, read_content, read_pairs, read_texts
from runtime.data.lexicon import World
from runtime.data.rows import read_rows, write_rows, write_sources
from runtime.data.world import pretraining_text, summaries, translations
from runtime.errors import DataError, TokenizerError

_TASKS = {"translation": translations, "summarization": summaries}
_SHOWN_ROWS = 2000  # dev rows on which a tokenizer's tokens per word are measured


def run_data(job: dict, store, context) -> dict:
    """Writes the artifact of a data job (role pretraining_text, examples or test_set) into `context.staging`; returns the record's body.

    metrics: rows by part, and for synthetic examples the exact entropy of the targets. Raises DataError.
    """
    role = job["identity"]["role"]
    if role == "pretraining_text":
        return _pretraining_text(job, context)
    if role == "examples":
        parts = {part: job["identity"][part] for part in ("train", "dev")}
        return _examples(job, context, parts, job["execution"]["paths"])
    if role == "test_set":
        return _examples(job, context, {"test": job["identity"]["sources"]}, {"test": job["execution"]["paths"]})
    raise DataError(f"data job {job['name']}: role {role!r} is unknown; accepted: pretraining_text, examples, test_set")


def run_tokenizer(job: dict, store, context) -> dict:
    """Trains a tokenizer, or copies one (unpacked), into `context.staging`; metrics: vocabulary, and tokens per word on held-out text where it was trained."""
    identity = job["identity"]
    wanted = identity["tokenizer"]
    if wanted["kind"] == "file":
        path = open_verified(job["execution"]["path"], wanted["digest"], context.data_roots)
        out = context.staging / ("tokenizer.json" if wanted["format"] == "huggingface" else "tokenizer.model")
        out.write_bytes(read_content(path))
        made = tokenizers.load(out)
        return _body({"vocabulary": made.vocabulary}, _digests(out))
    text = store.artifact(identity["text"])
    rows = [row["text"] for row in read_rows(text / "train.jsonl")]
    out = context.staging / "tokenizer.model"
    out.write_bytes(tokenizers.train(rows, wanted["model"], wanted["vocabulary"], identity["seed"]))
    made = tokenizers.load(out)
    if made.vocabulary != wanted["vocabulary"]:
        raise TokenizerError(f"tokenizer: {made.vocabulary} pieces came out where {wanted['vocabulary']} were asked for")
    held_out = [row["text"] for _, row in zip(range(_SHOWN_ROWS), read_rows(text / "dev.jsonl"))]
    ids = made.encode(held_out)
    tokens = sum(map(len, ids))
    metrics = {
        "vocabulary": made.vocabulary,
        "tokens_per_word": tokens / max(1, sum(len(text.split()) for text in held_out)),
        "tokens_per_character": tokens / max(1, sum(map(len, held_out))),
    }
    return _body(metrics, _digests(out))


def _pretraining_text(job: dict, context) -> dict:
    identity = job["identity"]
    limit = int(identity["dev_share"] * 2**64)
    sources, train, dev = [], [], []
    for number, (source, path) in enumerate(zip(identity["sources"], job["execution"]["paths"], strict=True)):
        rows = list(_texts(source, path, context))
        marks = [_mark(text, identity["seed"]) for text, _ in rows]
        # By the text's own hash, so that no text is on both sides, whichever sources it is in.
        lowest = min(marks, default=0)
        held_out = [mark < limit or mark == lowest for mark in marks] if limit else [False] * len(rows)
        if len(rows) - sum(held_out) < 1:
            raise DataError(f"pretraining text: source {number} ({path or 'synthetic'}) has {len(rows)} document(s), "
                            "too few to train on and hold some out; give it more lines")
        for (text, language), out in zip(rows, held_out):
            (dev if out else train).append({"text": text, "language": language, "source": number})
        sources.append({"share": source["share"], "language": source.get("language"),
                        "rows": len(rows) - sum(held_out), "dev_rows": sum(held_out)})
    files = _write(context.staging, {"train": train, "dev": dev}, {"train": sources})
    return _body({"rows": {"train": len(train), "dev": len(dev)}}, files)


def _texts(source: dict, path: str | None, context) -> Iterator[tuple[str, str | None]]:
    if source["kind"] == "synthetic":
        yield from pretraining_text(World(source["world"]), source["sentences"], source["parallel_share"])
        return
    found = open_verified(path, source["digest"], context.data_roots)
    for text in read_texts(found, source["format"], source["column"]):
        yield text, source.get("language")


def _mark(text: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, key=str(seed).encode()).digest(), "big")


def _examples(job: dict, context, parts: dict[str, list[dict]], paths: dict[str, list]) -> dict:
    rows, sources, entropies = {}, {}, {}
    for part, wanted in parts.items():
        rows[part], sources[part], found = [], [], []
        for origin, (source, path) in enumerate(zip(wanted, paths[part], strict=True)):
            some, entropy = _read_examples(source, path, context, origin)
            rows[part] += some
            found.append(entropy)
            sources[part].append({"share": source["share"], "language": source.get("language"), "rows": len(some)})
        if all(found):
            entropies[part] = _pooled(found, [source["rows"] for source in sources[part]])
    files = _write(context.staging, rows, sources)
    metrics: dict = {"rows": {part: len(some) for part, some in rows.items()}}
    if len(entropies) == len(parts):
        first = next(iter(parts))
        metrics["entropy"] = {**entropies[first]["expected"], "rows": {part: entropies[part]["rows"] for part in parts}}
    return _body(metrics, files, _overlap(rows))


def _read_examples(source: dict, path: str | None, context, origin: int) -> tuple[list[dict], dict | None]:
    entropy = None
    if source["kind"] == "synthetic":
        if source["task"] not in _TASKS:
            raise DataError(f"synthetic examples: task {source['task']!r} is unknown; accepted: {', '.join(_TASKS)}")
        world, task, direction = World(source["world"]), source["task"], source["direction"]
        given, wanted, meanings = _TASKS[task](world, direction, source["part"], source["examples"])
        targets = [[text] for text in wanted]
        language = source.get("language") or (direction[2] if task == "translation" else direction[0])
        entropy = {"expected": expected_entropy(world, task, direction), "rows": rows_entropy(world, task, direction, meanings)}
    else:
        found = open_verified(path, source["digest"], context.data_roots)
        given, targets = read_pairs(found, source["format"], source["source"], source["target"], source.get("header", False))
        language = source.get("language")
        if not given:
            raise DataError(f"{found}: the file has no rows")
    rows = [{"source": s, "targets": t, "language": language, "origin": origin} for s, t in zip(given, targets)]
    return rows, entropy


def _pooled(entropies: list[dict], rows: list[int]) -> dict:
    """The mean entropy over the rows of several sources."""
    out = {}
    for kind in ("expected", "rows"):
        sums = {name: sum(e[kind][name] * n for e, n in zip(entropies, rows)) for name in ("nats_per_target", "words_per_target")}
        out[kind] = {"nats_per_target": sums["nats_per_target"] / sum(rows),
                     "nats_per_word": sums["nats_per_target"] / sums["words_per_target"],
                     "words_per_target": sums["words_per_target"] / sum(rows)}
    return out


def _overlap(rows: dict[str, list[dict]]) -> list[dict]:
    if "train" not in rows:
        return []
    trained = {row["source"] for row in rows["train"]}
    both = sum(row["source"] in trained for row in rows["dev"])
    if not both:
        return []
    return [{"id": "TRAIN_DEV_OVERLAP", "message": f"{both} of {len(rows['dev'])} dev examples have a source text that is in the training set "
                                                   "too: the dev loss looks better than it is"}]


def _write(staging: Path, rows: dict[str, list[dict]], sources: dict[str, list[dict]]) -> dict[str, str]:
    for part, some in rows.items():
        write_rows(staging / f"{part}.jsonl", some)
    write_sources(staging, sources)
    return _digests(*(staging / f"{part}.jsonl" for part in rows))


def _digests(*paths: Path) -> dict[str, str]:
    return {path.name: digest_of(path) for path in paths}


def _body(metrics: dict, digests: dict[str, str], warnings: list[dict] | None = None) -> dict:
    return {"status": "ok", "metrics": metrics, "training": None, "digests": digests, "warnings": warnings or [], "training_seconds": 0.0}
