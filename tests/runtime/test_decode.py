"""Cached decoding against full forward passes, token for token, for every method and attention layout."""

import inspect
import sys
import types
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from runtime import decode, methods
from runtime.decode import Decoding, greedy
from runtime.model import Execution, Shape, bind, init_weights

END, PAD, LONGEST = 3, 0, 40
METHODS = {
    "none": {"name": "none"},
    "full": {"name": "full"},
    "lora": {"name": "lora", "rank": 3, "alpha": 6.0, "scale": "alpha/rank", "targets": ["query", "key", "value", "output", "gate", "up", "down"]},
    "prompt": {"name": "prompt", "prompt_length": 5, "init": "random"},
}


def make_shape(kv_heads=1, heads=4, tied=True, mlp_kind="swiglu"):
    return Shape(
        layers=2, width=32, heads=heads, kv_heads=kv_heads, head_width=8, mlp=48, mlp_kind=mlp_kind, tied_embeddings=tied,
        rope_base=100.0, norm_epsilon=1e-6, vocabulary=61,
    )


def make(shape, name, seed=0):
    """A base and a trained tree, both far enough from their start that every mistake shows."""
    weights = init_weights(shape, jax.random.key(seed))
    weights = dict(weights, embed=weights["embed"] * 10, layers=jax.tree.map(lambda w: 3 * w, weights["layers"]))
    method = methods.of(METHODS[name])
    trained = method.init(shape, weights, jax.random.key(seed + 1), jnp.float32)
    leaves, structure = jax.tree.flatten(trained)
    keys = jax.random.split(jax.random.key(seed + 2), len(leaves) + 1)
    trained = structure.unflatten(x + 0.3 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys))
    return weights, method, trained


def prompts_of(lengths, vocabulary=61, seed=0):
    draw = np.random.default_rng(seed)
    return [draw.integers(4, vocabulary, length).tolist() for length in lengths]


@partial(jax.jit, static_argnames=("shape", "method"))
def all_argmaxes(shape, method, weights, trained, tokens):
    """The most likely token behind every position, by one uncached forward pass."""
    bound = method.bind(weights, trained)
    model = bind(shape, bound.weights)
    return jnp.argmax(model.logits(model(tokens, bound.adapters, bound.prompt_PD)), axis=-1)


def full_passes(shape, method, weights, trained, prompts, max_tokens):
    """Greedy continuations by one full forward pass a token (what stands behind a row's end is never looked at)."""
    rows = [list(prompt) for prompt in prompts]
    done = [False] * len(rows)
    for _ in range(max_tokens):
        tokens = np.full((len(rows), LONGEST), PAD, np.int32)
        for i, row in enumerate(rows):
            tokens[i, : len(row)] = row
        best = np.asarray(all_argmaxes(shape, method, weights, trained, tokens))
        for i, row in enumerate(rows):
            following = int(best[i, len(row) - 1])
            done[i] = done[i] or following == END
            if not done[i]:
                row.append(following)
    return [row[len(prompt) :] for row, prompt in zip(rows, prompts)]


LAYOUTS = {"multi-query": (1, True, "swiglu"), "grouped, untied": (2, False, "geglu"), "multi-head": (4, True, "swiglu")}


@pytest.mark.parametrize(
    "name, layout", [*((name, "grouped, untied") for name in METHODS), ("none", "multi-head"), ("lora", "multi-query"), ("prompt", "multi-query")]
)
def test_cached_decoding_is_argmax_of_full_passes(name, layout):
    kv_heads, tied, mlp_kind = LAYOUTS[layout]
    shape = make_shape(kv_heads, tied=tied, mlp_kind=mlp_kind)
    weights, method, trained = make(shape, name)
    prompts = prompts_of([3, 9, 1, 20, 6])
    decoding = Decoding(shape, method, max_tokens=12, end=END, pad=PAD, execution=Execution(unroll=False))
    got = decode.decode(decoding, weights, trained, prompts)
    assert got == full_passes(shape, method, weights, trained, prompts, 12)
    assert len({tuple(row) for row in got}) > 3 and max(len(set(row)) for row in got) > 3  # not a constant answer


MUTATIONS = {
    "position of a generated token one too far": ("(P + length_B + index)[:, None]", "(P + length_B + index + 1)[:, None]"),
    "position counted from the padded length": ("(P + length_B + index)[:, None]", "(start + index + 0 * length_B)[:, None]"),
    "padding of the input is seen": ("(columns_S < P + length_B[:, None])", "(columns_S < start)"),
    "soft prompt takes no positions": ("(P + length_B + index)[:, None]", "(length_B + index)[:, None]"),
    "the newest token does not see itself": ("(columns_S <= column)", "(columns_S < column)"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_mutated_decoding_is_caught(mutation):
    old, new = MUTATIONS[mutation]
    source = inspect.getsource(decode)
    assert source.count(old) == 1
    mutant = types.ModuleType("mutant")
    sys.modules["mutant"] = mutant  # dataclasses look their module up
    exec(compile(source.replace(old, new), "mutant.py", "exec"), mutant.__dict__)
    shape = make_shape()
    weights, method, trained = make(shape, "prompt")
    prompts = prompts_of([3, 9, 1, 20, 6])
    got = mutant.decode(mutant.Decoding(shape, method, max_tokens=12, end=END), weights, trained, prompts)
    del sys.modules["mutant"]
    assert got != full_passes(shape, method, weights, trained, prompts, 12)


def test_batching_and_padding_change_nothing():
    shape = make_shape(kv_heads=2)
    weights, method, trained = make(shape, "lora")
    prompts = prompts_of([2, 16, 7, 9, 12, 5, 1, 11, 8, 3])
    decoding = Decoding(shape, method, max_tokens=8, end=END, pad=PAD)
    together = decode.decode(decoding, weights, trained, prompts, limit=16)
    apart = [decode.decode(decoding, weights, trained, [prompt], limit=24, batch_tokens=64)[0] for prompt in prompts]
    assert together == apart
    tokens = np.full((2, 16), 17, np.int32)  # the padding is a token like any other
    tokens[0, :7] = prompts[2]
    tokens[1, :5] = prompts[5]
    out = np.asarray(greedy(decoding, weights, trained, jnp.asarray(tokens), jnp.asarray([7, 5], jnp.int32)))
    for row, which in zip(out, (2, 5)):
        expected = together[which]
        assert row[: len(expected)].tolist() == expected


def test_a_row_ends_at_the_end_token_and_is_padded():
    """Rows that end early stay ended; the loop stops when all have (seen by the time it takes)."""
    shape = make_shape()
    weights, method, trained = make(shape, "none")
    prompt = prompts_of([4])[0]
    first = decode.decode(Decoding(shape, method, max_tokens=6, end=-1, pad=PAD), weights, trained, [prompt])[0]
    assert len(first) == 6
    stop = next(i for i, token in enumerate(first) if i and token not in first[:i])
    out = np.asarray(greedy(Decoding(shape, method, 6, end=first[stop], pad=PAD), weights, trained, jnp.asarray([prompt]), jnp.asarray([4], jnp.int32)))[0]
    assert out.tolist() == first[: stop + 1] + [PAD] * (5 - stop)


def test_one_compilation_serves_many_sets():
    shape = make_shape()
    weights, method, trained = make(shape, "none")
    decoding = Decoding(shape, method, max_tokens=5, end=END, pad=PAD)
    decode.decode(decoding, weights, trained, prompts_of([4] * 10, seed=1), limit=16, batch_tokens=128)
    before = greedy._cache_size()
    decode.decode(decoding, weights, trained, prompts_of([1, 3, 2] * 7, seed=2), limit=16, batch_tokens=128)
    assert greedy._cache_size() == before


def test_an_empty_prompt_is_refused():
    shape = make_shape()
    weights, method, trained = make(shape, "none")
    with pytest.raises(ValueError, match="prompt 1"):
        decode.decode(Decoding(shape, method, 4, end=END), weights, trained, [[5], []])
