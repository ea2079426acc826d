"""Evaluate jobs against a plain loop over examples: one forward pass each, no batch, float64 sums."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from runtime import decode, evaluate, scores, scoring
from runtime.data import PackedText, encode
from runtime.model import bind

SET = {"name": "test", "role": "test", "metrics": ["loss"], "language": None}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = tiny.Made(tmp_path_factory.mktemp("store"), names=("full", "lora", "prompt"))
    made.test = tiny.data(made.store, test=tiny.examples(37, references=2))
    made.other = tiny.data(made.store, test=tiny.examples(11, seed=1))
    text = [{"text": t, "language": "en", "source": 0} for t in tiny.sentences()]
    made.text = tiny.data(made.store, train=text[:300], dev=text[300:])
    made.examples = tiny.data(made.store, train=tiny.examples(5), dev=tiny.examples(19, seed=2))
    return made


@partial(jax.jit, static_argnames=("shape", "method"))
def one_row(shape, method, weights, trained, tokens):
    bound = method.bind(weights, trained)
    model = bind(shape, bound.weights)
    return model.logits(model(tokens[None], bound.adapters, bound.prompt_PD))[0]


def slow_losses(made, name, sequences, starts, length=40):
    """Sum of the losses (float64) of each sequence's tokens from its start on, one row at a time.

    Rows are filled to one length, so that they compile once; `length` None: not filled at all.
    """
    method, trained = made.tuned[name]
    sums = []
    for ids, start in zip(sequences, starts):
        filled = np.array(ids[:-1] + [17] * ((length or 0) - len(ids) + 1), np.int32)
        logits = np.asarray(one_row(made.shape, method, made.weights, trained, filled), np.float64)
        logp = logits - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True)) - logits.max(-1, keepdims=True)
        sums.append(-logp[np.arange(start - 1, len(ids) - 1), ids[start:]].sum())
    return sums


def test_the_plain_loop_itself_does_not_depend_on_filling(made):
    sequences, starts = example_sequences(made, 2)
    assert slow_losses(made, "prompt", sequences, starts, None) == pytest.approx(slow_losses(made, "prompt", sequences, starts), rel=1e-6)


def example_sequences(made, count, seed=0):
    encoded, _ = encode(tiny.examples(count, seed), made.tokenizer, tiny.TASK)
    pairs = zip(encoded.offsets, encoded.offsets[1:])
    return [encoded.ids[a:b].tolist() for a, b in pairs], encoded.target_start.tolist()


@pytest.mark.parametrize("name", ["base", "full", "lora", "prompt"])
def test_the_loss_is_that_of_a_plain_loop(made, tmp_path, name):
    body, outputs = tiny.evaluate(made, tmp_path, name, [{**SET, "data": made.other}])
    sequences, starts = example_sequences(made, 11, 1)
    result = body["metrics"]["sets"]["test"]
    assert result["loss_sum"] == pytest.approx(sum(slow_losses(made, name, sequences, starts)), rel=2e-6)
    assert result["target_tokens"] == sum(len(ids) - start for ids, start in zip(sequences, starts))
    assert result["examples"] == 11 and body["status"] == "ok" and outputs == []


def test_batches_and_padding_change_nothing(made, monkeypatch, tmp_path):
    sets = [{**SET, "data": made.test}]
    one = tiny.evaluate(made, tmp_path, "lora", sets)[0]["metrics"]["sets"]["test"]
    monkeypatch.setattr(scoring, "BATCH_TOKENS", 64)
    few = tiny.evaluate(made, tmp_path, "lora", sets)[0]["metrics"]["sets"]["test"]
    assert few["target_tokens"] == one["target_tokens"]
    assert few["loss_sum"] == pytest.approx(one["loss_sum"], rel=1e-6)


def test_padding_that_weighs_something_is_caught(made, monkeypatch, tmp_path):
    """The comparison with the plain loop fails where rows that only fill a batch are counted."""
    honest = scoring.batches.rows_to_batch

    def careless(*arguments):
        batch = honest(*arguments)
        batch["weight"][:] = np.maximum(batch["weight"], batch["weight"][:1])
        return batch

    monkeypatch.setattr(scoring.batches, "rows_to_batch", careless)
    body, _ = tiny.evaluate(made, tmp_path, "base", [{**SET, "data": made.other}])
    sequences, starts = example_sequences(made, 11, 1)
    assert body["metrics"]["sets"]["test"]["loss_sum"] != pytest.approx(sum(slow_losses(made, "base", sequences, starts)), rel=1e-2)


def test_held_out_text_and_dev_set(made, tmp_path):
    body, _ = tiny.evaluate(made, tmp_path, "base", [{**SET, "data": made.other}], pretraining_text=made.text, dev_data=made.examples)
    rows = PackedText(made.store.artifact(made.text), made.tokenizer, 16).dev_rows(evaluate.TEXT_TOKENS).tolist()
    text = body["metrics"]["pretraining"]
    assert text["target_tokens"] == 16 * len(rows)
    assert text["loss_sum"] == pytest.approx(sum(slow_losses(made, "base", rows, [1] * len(rows))), rel=2e-6)
    sequences, starts = example_sequences(made, 19, 2)
    assert body["metrics"]["dev"]["loss_sum"] == pytest.approx(sum(slow_losses(made, "base", sequences, starts)), rel=2e-6)


def test_held_out_text_is_capped(made, monkeypatch, tmp_path):
    monkeypatch.setattr(evaluate, "TEXT_TOKENS", 100)
    evaluate._held_out_rows.cache_clear()
    body, _ = tiny.evaluate(made, tmp_path, "base", [{**SET, "data": made.other}], pretraining_text=made.text)
    evaluate._held_out_rows.cache_clear()
    assert body["metrics"]["pretraining"]["target_tokens"] == 96


@pytest.mark.parametrize("name", ["full", "prompt"])
def test_metrics_are_of_the_greedy_outputs(made, tmp_path, name):
    sets = [{**SET, "data": made.test, "metrics": ["loss", "bleu", "chrf", "rouge-l"]}]
    body, outputs = tiny.evaluate(made, tmp_path, name, sets)
    result = body["metrics"]["sets"]["test"]
    rows = tiny.examples(37, references=2)
    method, trained = made.tuned[name]
    prompts = [[made.tokenizer.bos, *ids] for ids in made.tokenizer.encode([f"{row['source']} =>" for row in rows])]
    decoding = decode.Decoding(made.shape, method, 10, end=made.tokenizer.eos, pad=made.tokenizer.pad)
    kept = [i for i, prompt in enumerate(prompts) if len(prompt) <= 21]  # the others are cut, as the task has it
    assert len(kept) > 20
    expected = made.tokenizer.decode(decode.decode(decoding, made.weights, trained, [prompts[i] for i in kept]))
    assert [outputs[i]["output"] for i in kept] == expected and [row["row"] for row in outputs] == list(range(37))
    references = [row["targets"] for row in rows]
    for metric in ("bleu", "chrf", "rouge-l"):
        assert result[metric] == scores.score(metric, [row["output"] for row in outputs], references, "en")
    assert "nrefs:2" in result["bleu"]["signature"] and result["lengths"]["cut"] == 37 - len(kept)


def test_sets_that_do_not_fit_the_lengths_are_warned_about_once_a_base(made, tmp_path):
    sets = [{**SET, "data": made.test}]
    body, _ = tiny.evaluate(made, tmp_path, "base", sets, dev_data=made.examples)
    cut = body["metrics"]["sets"]["test"]["lengths"]["cut"]
    assert cut > 0 and [note["id"] for note in body["warnings"]] == ["TOO_LONG"]
    assert f"of 37 examples {cut} sources cut" in body["warnings"][0]["message"]
    assert tiny.evaluate(made, tmp_path, "lora", sets)[0]["warnings"] == []
    assert evaluate._too_long("test", {"cut": 1, "cut_target": 0, "dropped": 0}, 100, {"source": 8, "target": 8}) == []


def test_the_language_of_a_set_decides_the_tokenization(made, tmp_path):
    sets = [{**SET, "data": made.other, "metrics": ["bleu"], "language": "zh"}]
    body, _ = tiny.evaluate(made, tmp_path, "base", sets)
    assert "tok:zh" in body["metrics"]["sets"]["test"]["bleu"]["signature"]


def test_a_run_that_kept_the_base_scores_as_the_base(made, tmp_path):
    key, *_ = tiny.finetuned(made.store, made.shape, made.keys["base"], made.weights, made.keys["tokenizer"], "prompt", kept=0)
    sets = [{**SET, "data": made.other}]
    body, _ = tiny.evaluate(made, tmp_path, "prompt", sets, model=key)
    assert body["metrics"] == tiny.evaluate(made, tmp_path, "base", sets)[0]["metrics"]


def test_a_loss_that_is_not_finite_is_data(made, tmp_path, monkeypatch):
    broken = jax.tree.map(lambda x: x * jnp.nan, made.weights)
    monkeypatch.setattr(evaluate.checkpoints, "load_base", lambda *a: broken)
    evaluate._base.cache_clear()
    body, _ = tiny.evaluate(made, tmp_path, "base", [{**SET, "data": made.other, "metrics": ["loss", "bleu"]}])
    evaluate._base.cache_clear()
    assert body["status"] == "diverged"


def test_the_second_job_compiles_nothing_and_encodes_nothing(made, tmp_path, monkeypatch):
    sets = [{**SET, "data": made.test, "metrics": ["loss", "bleu"]}, {**SET, "name": "zero", "role": "zero_shot", "data": made.other}]
    more = dict(pretraining_text=made.text)
    first, _ = tiny.evaluate(made, tmp_path, "base", sets, **more)
    before = scoring._batch_sums._cache_size(), decode.greedy._cache_size()
    monkeypatch.setattr(evaluate, "encode", None)
    monkeypatch.setattr(evaluate, "PackedText", None)
    again, _ = tiny.evaluate(made, tmp_path, "base", sets, **more)
    assert again == first
    tiny.evaluate(made, tmp_path, "full", sets, **more)  # a fully finetuned model is scored by the base's programs
    assert (scoring._batch_sums._cache_size(), decode.greedy._cache_size()) == before
