"""Data and tokenizer jobs: artifacts, counts, digests, entropy, and errors that say what to do."""

import gzip
from types import SimpleNamespace

import pytest

from runtime import tokenizers
from runtime.data import PackedText, load_examples, load_shares, load_test
from runtime.data.files import digest_of
from runtime.data.jobs import run_data, run_tokenizer
from runtime.data.rows import read_rows
from runtime.errors import DataError, TokenizerError

WORLD = {"seed": 0, "nouns": 200, "verbs": 60, "adjectives": 40, "zipf": 1.0, "syllables": 32}


class Bench:
    """A store of artifacts by name, and a way to run one job into it."""

    def __init__(self, root):
        self.root, self.data = root, root / "data"
        self.data.mkdir()

    def artifact(self, key):
        return self.root / key

    def run(self, key, identity, execution, runner=run_data):
        (self.root / key).mkdir()
        context = SimpleNamespace(staging=self.root / key, data_roots=[self.data], progress=lambda event: None)
        return runner({"name": key, "identity": identity, "execution": execution}, self, context)

    def file(self, name, text):
        (self.data / name).write_text(text, "utf-8")
        return digest_of(self.data / name)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def synthetic_text(sentences=3000, seed=0):
    return {"kind": "data", "role": "pretraining_text", "dev_share": 0.05, "seed": seed,
            "sources": [{"kind": "synthetic", "world": WORLD, "sentences": sentences, "parallel_share": 0.1, "share": 1.0}]}


def synthetic(part, examples, task="translation", direction="a-b"):
    return {"kind": "synthetic", "world": WORLD, "task": task, "direction": direction, "part": part, "examples": examples, "share": 1.0}


def files(digest, **more):
    return {"kind": "files", "digest": digest, "format": "tsv", "source": 0, "target": 1, "header": False, "language": "de", "share": 1.0, **more}


def test_synthetic_pretraining_text_and_its_tokenizer(bench):
    body = bench.run("text", synthetic_text(), {"paths": [None]})
    rows = {part: list(read_rows(bench.artifact("text") / f"{part}.jsonl")) for part in ("train", "dev")}
    assert body["metrics"]["rows"] == {part: len(some) for part, some in rows.items()}
    assert 0.03 < len(rows["dev"]) / len(rows["train"]) < 0.08
    assert not {row["text"] for row in rows["train"]} & {row["text"] for row in rows["dev"]}
    assert {row["language"] for row in rows["train"]} == {"a", "b", "a-b", "b-a"}
    assert body["digests"]["train.jsonl"] == digest_of(bench.artifact("text") / "train.jsonl")

    identity = {"tokenizer": {"kind": "sentencepiece", "model": "bpe", "vocabulary": 200}, "text": "text", "seed": 0}
    made = bench.run("tokenizer", identity, {}, run_tokenizer)
    assert made["metrics"]["vocabulary"] == 200 and 1.0 < made["metrics"]["tokens_per_word"] < 4.0
    packed = PackedText(bench.artifact("text"), tokenizers.load(bench.artifact("tokenizer")), 32)
    assert packed.batch(0, 4).shape == (4, 33) and packed.dev_rows(3200).max() < 200

    identity["tokenizer"]["vocabulary"] = 20_000
    with pytest.raises(TokenizerError, match="vocabulary of 20000 cannot be made .* yields \\d+ pieces at most"):
        bench.run("too large", identity, {}, run_tokenizer)


def test_the_same_job_gives_the_same_bytes(bench):
    one = bench.run("one", synthetic_text(600), {"paths": [None]})
    two = bench.run("two", synthetic_text(600), {"paths": [None]})
    other = bench.run("other", synthetic_text(600, seed=1), {"paths": [None]})
    assert one["digests"] == two["digests"] != other["digests"]


def test_synthetic_examples_come_with_their_entropy(bench):
    body = bench.run("examples", {"role": "examples", "train": [synthetic("train", 400)], "dev": [synthetic("dev", 50)]},
                     {"paths": {"train": [None], "dev": [None]}})
    train, dev = load_examples(bench.artifact("examples"))
    assert len(train) == 400 and len(dev) == 50
    assert train[0]["origin"] == 0 and train[0]["language"] == "b" and len(train[0]["targets"]) == 1
    entropy = body["metrics"]["entropy"]
    assert entropy["nats_per_target"] == pytest.approx(entropy["rows"]["train"]["nats_per_target"], rel=0.1)
    assert entropy["nats_per_word"] == pytest.approx(entropy["nats_per_target"] / entropy["words_per_target"])
    assert set(entropy["rows"]) == {"train", "dev"} and body["warnings"] == []

    test = bench.run("test", {"role": "test_set", "sources": [synthetic("test", 30, "summarization", "b-a")]}, {"paths": [None]})
    assert len(load_test(bench.artifact("test"))) == 30 == test["metrics"]["rows"]["test"]
    assert load_test(bench.artifact("test"))[0]["language"] == "b" and test["metrics"]["entropy"]["nats_per_target"] > 0


def test_examples_from_files_with_shares(bench):
    one, two = bench.file("one.tsv", "a\tA\nb\tB\n"), bench.file("two.jsonl", '{"s": "c", "t": ["C", "c"]}\n')
    dev = bench.file("dev.tsv", "d\tD\nb\tB\n")
    identity = {"role": "examples", "dev": [files(dev)],
                "train": [files(one, share=0.75), files(two, format="jsonl", source="s", target="t", share=0.25, language=None)]}
    body = bench.run("examples", identity, {"paths": {"train": ["one.tsv", "two.jsonl"], "dev": ["dev.tsv"]}})
    train, _ = load_examples(bench.artifact("examples"))
    assert train[1] == {"source": "b", "targets": ["B"], "language": "de", "origin": 0}
    assert train[2] == {"source": "c", "targets": ["C", "c"], "language": None, "origin": 1}
    assert load_shares(bench.artifact("examples")) == [0.75, 0.25]
    assert "entropy" not in body["metrics"]
    assert [w["id"] for w in body["warnings"]] == ["TRAIN_DEV_OVERLAP"] and "1 of 2 dev examples" in body["warnings"][0]["message"]


def test_held_out_text_shares_nothing_with_the_rest(bench):
    lines = [f"line {i % 150}" for i in range(300)]
    one, two = bench.file("one.txt", "\n".join(lines)), bench.file("two.txt", "\n".join(f"line {i}" for i in range(100, 250)))
    identity = {"role": "pretraining_text", "dev_share": 0.1, "seed": 0, "sources": [
        {"kind": "files", "digest": digest, "format": "text", "column": None, "language": "en", "share": 0.5} for digest in (one, two)]}
    body = bench.run("text", identity, {"paths": ["one.txt", "two.txt"]})
    rows = {part: list(read_rows(bench.artifact("text") / f"{part}.jsonl")) for part in ("train", "dev")}
    assert sum(body["metrics"]["rows"].values()) == 450
    assert not {row["text"] for row in rows["train"]} & {row["text"] for row in rows["dev"]}
    assert {row["source"] for row in rows["dev"]} == {0, 1} and 20 < len(rows["dev"]) < 75
    kept = [row["text"] for row in rows["train"] if row["source"] == 1]
    assert kept == sorted(kept, key=lambda text: int(text.split()[1]))


def test_a_source_of_one_line_cannot_be_split(bench):
    digest = bench.file("one.txt", "only\n")
    source = {"kind": "files", "digest": digest, "format": "text", "column": None, "language": "en", "share": 1.0}
    with pytest.raises(DataError, match=r"source 0 \(one.txt\) has 1 document"):
        bench.run("text", {"role": "pretraining_text", "dev_share": 0.1, "seed": 0, "sources": [source]}, {"paths": ["one.txt"]})


def test_changed_missing_and_empty_files_are_refused(bench):
    digest = bench.file("one.tsv", "a\tA\n")
    bench.file("one.tsv", "a\tB\n")
    with pytest.raises(DataError, match="changed since the plan was made"):
        bench.run("changed", {"role": "test_set", "sources": [files(digest)]}, {"paths": ["one.tsv"]})
    with pytest.raises(DataError, match="'gone.tsv' was not found .*data/gone.tsv"):
        bench.run("gone", {"role": "test_set", "sources": [files(digest)]}, {"paths": ["gone.tsv"]})
    with pytest.raises(DataError, match="empty.tsv: the file has no rows"):
        bench.run("empty", {"role": "test_set", "sources": [files(bench.file("empty.tsv", "\n"))]}, {"paths": ["empty.tsv"]})
    with pytest.raises(DataError, match="role 'valid' is unknown"):
        bench.run("role", {"role": "valid"}, {"paths": []})


def test_a_tokenizer_brought_along_is_copied_plain_or_gzipped(bench):
    model = tokenizers.train(["some words to learn from, again and again"] * 5, "bpe", 30)
    (bench.data / "mine.model").write_bytes(model)
    digest = digest_of(bench.data / "mine.model")
    identity = {"tokenizer": {"kind": "file", "digest": digest, "format": "sentencepiece"}}
    body = bench.run("tokenizer", identity, {"path": "mine.model"}, run_tokenizer)
    assert body["metrics"] == {"vocabulary": 30} and body["digests"] == {"tokenizer.model": digest}
    assert (bench.artifact("tokenizer") / "tokenizer.model").read_bytes() == model
    (bench.data / "mine.model.gz").write_bytes(gzip.compress(model))
    identity["tokenizer"]["digest"] = digest_of(bench.data / "mine.model.gz")
    bench.run("packed", identity, {"path": "mine.model.gz"}, run_tokenizer)
    assert (bench.artifact("packed") / "tokenizer.model").read_bytes() == model
    identity["tokenizer"]["digest"] = "sha256:0"
    with pytest.raises(DataError, match="changed since the plan"):
        bench.run("other", identity, {"path": "mine.model"}, run_tokenizer)
