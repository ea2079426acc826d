"""Packed pretraining text: whole documents end to end, shares kept, order a pure function of seed and step, cache as good as none."""

import numpy as np
import pytest

from runtime import tokenizers
from runtime.data import PackedText
from runtime.data.rows import write_rows, write_sources
from runtime.errors import DataError

LENGTH = 7


class Words(tokenizers.Tokenizer):
    """One id a word, which is a number."""

    pad, bos, eos = 0, 2, 3

    def __init__(self, vocabulary=5000):
        self.vocabulary = vocabulary
        self.calls = 0

    def encode(self, texts):
        self.calls += 1
        return [[int(word) for word in text.split()] for text in texts]


def artifact(folder, sizes, shares, dev=(3, 3, 3)):
    """Documents of 6 tokens (8 with BOS and EOS: a row), each token 10,000 * (source + 1) + its document (+ 5,000 where held out)."""
    folder.mkdir()
    for part, counts in (("train", sizes), ("dev", dev)):
        write_rows(folder / f"{part}.jsonl", (
            {"text": " ".join([str(10_000 * (source + 1) + document + (5000 if part == "dev" else 0))] * 6), "language": "x", "source": source}
            for source, count in enumerate(counts[: len(sizes)]) for document in range(count)))
    write_sources(folder, {"train": [{"share": share, "rows": n} for share, n in zip(shares, sizes)]})
    return folder


def sources_of(rows):
    return rows[:, 1] // 10_000 - 1


def test_rows_are_documents_between_their_signs(tmp_path):
    text = PackedText(artifact(tmp_path / "t", [5], [1.0]), Words(), LENGTH)
    batch = text.batch(0, 5)
    assert batch.shape == (5, LENGTH + 1) and batch.dtype == np.int32
    assert sorted(batch.tolist()) == [[2, *[10_000 + d] * 6, 3] for d in range(5)]
    assert text.tokens == 5 * LENGTH


def test_documents_run_on_across_rows(tmp_path):
    text = PackedText(artifact(tmp_path / "t", [6], [1.0]), Words(), 11)
    rows = sorted(text.batch(0, 4).tolist())
    assert [2, *[10_000] * 6, 3, 2, *[10_001] * 3] in rows and len(rows) == 4


def test_every_time_round_is_a_new_order_and_depends_on_nothing_else(tmp_path):
    folder = artifact(tmp_path / "t", [40], [1.0])
    text = PackedText(folder, Words(), LENGTH, seed=3)
    seen = np.concatenate([text.batch(step, 16) for step in range(10)])
    rounds = seen[:, 1].reshape(4, 40)
    assert all(sorted(one) == sorted(rounds[0]) and len(set(one)) == 40 for one in rounds.tolist())
    assert len({tuple(one) for one in rounds.tolist()}) == 4
    assert np.array_equal(PackedText(folder, Words(), LENGTH, seed=3).batch(7, 16), seen[7 * 16 : 8 * 16])
    assert not np.array_equal(PackedText(folder, Words(), LENGTH, seed=4).batch(7, 16), seen[7 * 16 : 8 * 16])


def test_sources_are_mixed_by_share_not_by_size(tmp_path):
    text = PackedText(artifact(tmp_path / "t", [300, 20, 50], [0.5, 0.3, 0.2]), Words(), LENGTH)
    seen = sources_of(np.concatenate([text.batch(step, 32) for step in range(100)]))
    counts = np.cumsum(np.stack([seen == s for s in range(3)]), axis=1)
    wanted = np.array([[0.5], [0.3], [0.2]]) * np.arange(1, 3201)
    assert np.abs(counts - wanted).max() < 2
    assert text.epochs(100, 32) == pytest.approx(3200 * 0.3 / 20)


def test_the_small_source_is_read_evenly(tmp_path):
    text = PackedText(artifact(tmp_path / "t", [300, 20], [0.7, 0.3]), Words(), LENGTH)
    rows = np.concatenate([text.batch(step, 50) for step in range(60)])[:, 1]
    often = np.unique(rows[rows >= 20_000], return_counts=True)[1]
    assert often.sum() == 900 and often.tolist() == [45] * 20


def test_held_out_rows_are_mixed_too_and_never_repeated(tmp_path):
    text = PackedText(artifact(tmp_path / "t", [30, 30], [0.5, 0.5], dev=(40, 10)), Words(), LENGTH)
    rows = text.dev_rows(10 * LENGTH + 3)
    assert rows.shape == (10, LENGTH + 1) and np.bincount(sources_of(rows)).tolist() == [5, 5]
    many = text.dev_rows(10**6)
    assert len(many) == 50 and len({tuple(row) for row in many.tolist()}) == 50
    assert np.all(many[:, 1] % 10_000 >= 5000)


@pytest.mark.parametrize("vocabulary, dtype", [(65_000, np.uint16), (70_000, np.int32)])
def test_tokens_are_made_once_and_kept(tmp_path, vocabulary, dtype):
    folder = artifact(tmp_path / "t", [9, 4], [0.5, 0.5])
    cache = tmp_path / "cache" / "text-tokens"
    first = Words(vocabulary)
    made = PackedText(folder, first, LENGTH, cache=cache)
    again = Words(vocabulary)
    kept = PackedText(folder, again, LENGTH, cache=cache)
    assert first.calls > 0 and again.calls == 0
    assert np.load(cache / "train-0.npy").dtype == dtype
    plain = PackedText(folder, Words(vocabulary), LENGTH)
    for step in range(5):
        assert np.array_equal(made.batch(step, 8), plain.batch(step, 8)) and np.array_equal(kept.batch(step, 8), plain.batch(step, 8))
    assert [path.name for path in cache.parent.iterdir()] == ["text-tokens"]


def test_too_little_text_is_an_error(tmp_path):
    with pytest.raises(DataError, match="source 1 has 8 tokens, too few for one row of 20"):
        PackedText(artifact(tmp_path / "a", [30, 1], [0.5, 0.5]), Words(), 19)
    text = PackedText(artifact(tmp_path / "b", [30], [1.0], dev=(1,)), Words(), 19)
    with pytest.raises(DataError, match="does not fill one row of 20 tokens; raise dev_share"):
        text.dev_rows(1000)
