"""Optimizers and schedules. The learning rate and the lengths of a schedule are traced values: changing them compiles nothing."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple

import jax
import jax.numpy as jnp
import optax


class Schedule(NamedTuple):
    """A schedule as numbers, all traced; `rate` gives the learning rate of a step.

    Linear warm-up over `warmup` steps; then constant until `decay_start`; then down to `final` at `end`, linearly
    (`cosine` 0) or along half a cosine (`cosine` 1).
    """

    peak: Any
    final: Any
    warmup: Any
    decay_start: Any
    end: Any
    cosine: Any

    @classmethod
    def read(cls, optimizer: Mapping[str, Any], peak: float, steps: int | None, decay_start: int | None = None) -> "Schedule":
        """From an identity's `optimizer`. wsd: constant to `decay_start` (None: for ever), then linear to zero."""
        warmup = optimizer.get("warmup_steps", 0)
        final = optimizer.get("final_learning_rate", 0.0)
        never = 2**30
        kind = optimizer["schedule"]
        if kind == "cosine":
            values = (peak, final, warmup, warmup, max(steps, warmup + 1), 1.0)
        elif kind == "wsd" and decay_start is not None:
            values = (peak, 0.0, warmup, decay_start, max(steps, decay_start + 1), 0.0)
        elif kind in ("wsd", "constant"):
            values = (peak, peak, warmup, never, never + 1, 0.0)
        else:
            raise ValueError(f"schedule {kind!r} is not known; accepted: wsd, cosine, constant")
        return cls(*(jnp.asarray(value, jnp.float32) for value in values))

    def rate(self, step: jax.Array) -> jax.Array:
        """The learning rate of the update that leads from `step` to `step + 1`."""
        step = step.astype(jnp.float32)
        warm = jnp.minimum(1.0, (step + 1) / jnp.maximum(self.warmup, 1.0))
        done = jnp.clip((step - self.decay_start) / (self.end - self.decay_start), 0.0, 1.0)
        fall = jnp.where(self.cosine > 0, 0.5 * (1 + jnp.cos(jnp.pi * done)), 1 - done)
        return warm * (self.final + (self.peak - self.final) * fall)


def _by_layer(transform: optax.GradientTransformation) -> optax.GradientTransformation:
    """Treats each layer of a stacked weight as a block of its own.

    Adafactor clips and scales by block; a leaf that stacks all layers would otherwise be one.
    """

    def over(function, stacked, *trees):
        return jax.vmap(function)(*trees) if stacked else function(*trees)

    def is_stacked(path) -> bool:
        return getattr(path[0], "key", None) == "layers"

    def init(params):
        return jax.tree_util.tree_map_with_path(lambda path, p: over(transform.init, is_stacked(path), p), params)

    def update(updates, state, params):
        paths, structure = jax.tree_util.tree_flatten_with_path(updates)
        states, leaves = structure.flatten_up_to(state), structure.flatten_up_to(params)
        pairs = [
            over(transform.update, is_stacked(path), leaf, s, p) for (path, leaf), s, p in zip(paths, states, leaves)
        ]
        return structure.unflatten(u for u, _ in pairs), structure.unflatten(s for _, s in pairs)

    return optax.GradientTransformation(init, update)


def make(config: Mapping[str, Any]) -> optax.GradientTransformation:
    """The optimizer of an identity, without its learning rate: `params -= rate * update`.

    adamw: Loshchilov & Hutter 2019 as torch.optim.AdamW has it, decay on every trained weight. adafactor: Shazeer &
    Stern 2018 without momentum, updates relative to each weight's root mean square.
    """
    clip = config.get("clip") or 0.0
    decay = config.get("weight_decay") or 0.0
    steps = [optax.clip_by_global_norm(clip)] if clip else []
    if config["kind"] == "adamw":
        steps.append(optax.scale_by_adam(b1=config.get("beta1", 0.9), b2=config.get("beta2", 0.999), eps=1e-8))
    elif config["kind"] == "adafactor":
        steps.append(_by_layer(optax.chain(
            optax.scale_by_factored_rms(decay_rate=0.8), optax.clip_by_block_rms(1.0), optax.scale_by_param_block_rms()
        )))
    else:
        raise ValueError(f"optimizer {config['kind']!r} is not known; accepted: adamw, adafactor")
    if decay:
        steps.append(optax.add_decayed_weights(decay))
    return optax.chain(*steps)
