"""Prompt tuning (Lester et al. 2021): trained embeddings before the input, the base frozen."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from runtime.methods.base import Bound, Method


@dataclass(frozen=True)
class Prompt(Method, name="prompt"):
    """`init` vocabulary: the embeddings of tokens drawn without replacement; random: normal with the table's deviation.

    Unlike LoRA, a soft prompt changes the base's outputs from step 0 on; the untouched base is scored as a
    candidate of its own.
    """

    name: str = "prompt"
    prompt_length: int = 8
    init_from: str = "vocabulary"

    @classmethod
    def read(cls, config):
        return cls(prompt_length=config["prompt_length"], init_from=config["init"])

    def init(self, shape, weights, key, dtype):
        table = weights["embed"]
        if self.init_from == "vocabulary":
            again = self.prompt_length > shape.vocabulary
            rows = jax.random.choice(key, shape.vocabulary, (self.prompt_length,), replace=again)
            return {"prompt": table[rows].astype(dtype)}
        noise = jax.random.normal(key, (self.prompt_length, shape.width))
        return {"prompt": (noise * jnp.std(table.astype(jnp.float32))).astype(dtype)}

    def bind(self, weights, trained):
        return Bound(weights, prompt_PD=trained["prompt"])

    def logical_axes(self, shape):
        return {"prompt": (None, "width")}
