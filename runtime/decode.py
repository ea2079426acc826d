"""Greedy decoding with a key/value cache: prefill and every step in one compiled program a shape.

The cache has one column a position: P of the soft prompt, T of the (right-padded) input, then one for every generated
token. Rows of different lengths write a generated token to the same column, so that a step updates one slice, while
each row keeps its own rotary positions and never looks at its padding.

Shapes: B batch, T input position, M generated position, P soft-prompt position, S cache column, L layer, G key/value
head, K head width, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from runtime.buckets import ROWS, cut
from runtime.methods import Method
from runtime.model import Adapters, Execution, Shape, attend, bind, normalise, project_in, project_out, rotations


@dataclass(frozen=True)
class Decoding:
    """Everything static of a decoding program: equal decodings and array shapes share one compilation.

    `max_tokens` bounds the generated tokens, the end token included; `end` stops a row; `pad` fills what is behind it.
    """

    shape: Shape
    method: Method
    max_tokens: int
    end: int
    pad: int = 0
    compute: str = "float32"
    execution: Execution = Execution()


@partial(jax.jit, static_argnames=("decoding",))
def greedy(decoding: Decoding, frozen: Any, trained: Any, tokens_BT: jax.Array, length_B: jax.Array) -> jax.Array:
    """The most likely continuation, token by token: int32 [B, M], `pad` behind each row's end token.

    `tokens_BT`: inputs, right-padded with anything; `length_B`: how many count, 0 for a row that is only filling.
    Stops as soon as every row has ended.
    """
    shape, dtype = decoding.shape, jnp.dtype(decoding.compute)
    bound = decoding.method.bind(frozen, trained)
    model = bind(shape, bound.weights)
    adapter_weights, scale = bound.adapters if bound.adapters is not None else ({}, 1.0)
    per_layer = (model.layers.stacked(), adapter_weights)
    B, T = tokens_BT.shape
    P = 0 if bound.prompt_PD is None else bound.prompt_PD.shape[0]
    start, M = P + T, decoding.max_tokens
    S = start + M - 1  # the last token is never fed back

    def next_token(h_BD):
        h_B1D = normalise(h_BD[:, None], model.final_norm[...], shape.norm_epsilon)
        return jnp.argmax(model.logits(h_B1D)[:, 0], axis=-1).astype(jnp.int32)

    def prefill():
        h_BTD = model.look_up(tokens_BT, dtype)
        if P:
            front = jnp.broadcast_to(bound.prompt_PD.astype(dtype)[None], (B, *bound.prompt_PD.shape))
            h_BTD = jnp.concatenate([front, h_BTD], axis=1)
        cos, sin = rotations(jnp.arange(start)[None], shape.head_width, shape.rope_base)
        causal = jnp.tril(jnp.ones((start, start), bool))

        def layer(h_BTD, layer_weights):
            w, a = layer_weights
            adapters = Adapters(a, scale)
            q, k, v = project_in(h_BTD, w, adapters, shape, cos, sin)
            return project_out(h_BTD, attend(q, k, v, causal), w, adapters, shape), (k, v)

        h_BTD, cache = model.blocks(h_BTD, per_layer, layer, decoding.execution)
        last_B = P + jnp.maximum(length_B, 1) - 1
        h_BD = jnp.take_along_axis(h_BTD, last_B[:, None, None], axis=1)[:, 0]
        room = ((0, 0), (0, 0), (0, S - start), (0, 0), (0, 0))
        return next_token(h_BD), jax.tree.map(lambda x_LBSGK: jnp.pad(x_LBSGK, room), cache)

    def step(carry):
        index, token_B, done_B, out_BM, cache = carry
        column = start + index
        columns_S = jnp.arange(S)[None]
        seen_BS = (columns_S < P + length_B[:, None]) | ((columns_S >= start) & (columns_S <= column))
        cos, sin = rotations((P + length_B + index)[:, None], shape.head_width, shape.rope_base)

        def layer(state, layer_weights):
            h_B1D, keys, values = state
            w, a, place = layer_weights
            adapters = Adapters(a, scale)
            q, k, v = project_in(h_B1D, w, adapters, shape, cos, sin)
            where = (place, 0, column, 0, 0)
            keys, values = (jax.lax.dynamic_update_slice(x, y[None], where) for x, y in ((keys, k), (values, v)))
            k, v = (jax.lax.dynamic_index_in_dim(x, place, keepdims=False) for x in (keys, values))
            h_B1D = project_out(h_B1D, attend(q, k, v, seen_BS[:, None]), w, adapters, shape)
            return (h_B1D, keys, values), None

        state = (model.look_up(token_B[:, None], dtype), *cache)
        (h_B1D, *cache), _ = model.blocks(state, (*per_layer, jnp.arange(shape.layers)), layer, decoding.execution)
        token_B, done_B = emit(next_token(h_B1D[:, 0]), done_B)
        out_BM = jax.lax.dynamic_update_slice(out_BM, token_B[:, None], (0, index + 1))
        return index + 1, token_B, done_B, out_BM, tuple(cache)

    def emit(token_B, done_B):
        token_B = jnp.where(done_B, decoding.pad, token_B)
        return token_B, done_B | (token_B == decoding.end)

    token_B, cache = prefill()
    token_B, done_B = emit(token_B, length_B == 0)
    out_BM = jnp.full((B, M), decoding.pad, jnp.int32).at[:, 0].set(token_B)
    carry = (jnp.int32(0), token_B, done_B, out_BM, cache)
    return jax.lax.while_loop(lambda c: (c[0] < M - 1) & ~jnp.all(c[2]), step, carry)[3]


def decode(
    decoding: Decoding, frozen: Any, trained: Any, prompts: Sequence[Sequence[int]], limit: int = 64, batch_tokens: int = 4096,
    rows_multiple: int = ROWS, place=jnp.asarray,
) -> list[list[int]]:
    """The greedy continuation of every prompt (token ids, one or more each), without end token and padding.

    Prompts are sorted by length, cut in batches of few shapes (`limit`: the length they should not exceed) and put back
    in order; none of it changes a token. `place` puts an array whose first axis is rows on the devices.
    """
    for row, prompt in enumerate(prompts):
        if not len(prompt):
            raise ValueError(f"prompt {row} has no token; decoding starts from one or more")
    results: list[list[int]] = [[] for _ in prompts]
    pending = []
    for rows, T, B in cut([len(prompt) for prompt in prompts], limit, batch_tokens, rows_multiple):
        tokens, lengths = np.full((B, T), decoding.pad, np.int32), np.zeros(B, np.int32)
        for i, row in enumerate(rows):
            tokens[i, : len(prompts[row])] = prompts[row]
            lengths[i] = len(prompts[row])
        pending.append((rows, greedy(decoding, frozen, trained, place(tokens), place(lengths))))
    for rows, out in pending:
        for row, generated in zip(rows, np.asarray(out)):
            ended = np.flatnonzero(generated == decoding.end)
            results[row] = generated[: ended[0] if len(ended) else None].tolist()
    return results
