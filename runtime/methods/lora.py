"""LoRA (Hu et al. 2021): low-rank updates of single projections, the base frozen."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import jax
import jax.numpy as jnp

from runtime.methods.base import Bound, Method
from runtime.model import Shape

# Each projection: its inputs and outputs as axes of the legend in runtime/model.py, and their logical names.
PROJECTIONS = {
    "query": ("D", "HK", "width", "heads"),
    "key": ("D", "GK", "width", "kv_heads"),
    "value": ("D", "GK", "width", "kv_heads"),
    "output": ("HK", "D", "heads", "width"),
    "gate": ("D", "F", "width", "mlp"),
    "up": ("D", "F", "width", "mlp"),
    "down": ("F", "D", "mlp", "width"),
}
# Where a projection is stored: the weight's name, and which of the two where it is fused.
STORED = {
    "query": ("query", None), "key": ("key_value", 0), "value": ("key_value", 1), "output": ("output", None),
    "gate": ("gate_up", 0), "up": ("gate_up", 1), "down": ("down", None),
}
SCALES = {
    "alpha/rank": lambda alpha, rank: alpha / rank,
    "alpha/sqrt(rank)": lambda alpha, rank: alpha / sqrt(rank),
    "none": lambda alpha, rank: 1.0,
}


def _length(shape: Shape, axes: str) -> int:
    product = 1
    for axis in axes:
        product *= shape.axis(axis)
    return product


@dataclass(frozen=True)
class Lora(Method, name="lora"):
    name: str = "lora"
    rank: int = 4
    alpha: float = 4.0
    scale: str = "alpha/rank"
    targets: tuple[str, ...] = tuple(PROJECTIONS)

    @classmethod
    def read(cls, config):
        unknown = sorted(set(config["targets"]) - set(PROJECTIONS))
        if unknown or not config["targets"]:
            raise ValueError(f"LoRA targets {unknown or config['targets']} match nothing; accepted: {', '.join(PROJECTIONS)}")
        return cls(rank=config["rank"], alpha=config["alpha"], scale=config["scale"], targets=tuple(config["targets"]))

    @property
    def factor(self) -> float:
        """What the low-rank product is multiplied with."""
        return SCALES[self.scale](self.alpha, self.rank)

    def init(self, shape, weights, key, dtype):
        """A uniform in +-1/sqrt(inputs) (Kaiming with a = sqrt(5), as PEFT), B zero: the base, bit for bit."""
        layers = {}
        for name in self.targets:
            inputs, outputs = (_length(shape, axes) for axes in PROJECTIONS[name][:2])
            bound = inputs**-0.5
            stream = jax.random.fold_in(key, list(PROJECTIONS).index(name))
            a = jax.random.uniform(stream, (shape.layers, inputs, self.rank), minval=-bound, maxval=bound)
            layers[name] = {"a": a.astype(dtype), "b": jnp.zeros((shape.layers, self.rank, outputs), dtype)}
        return {"layers": layers}

    def bind(self, weights, trained):
        return Bound(weights, adapters=(trained["layers"], self.factor))

    def merged(self, weights, trained):
        return _merge(self.factor, weights, trained["layers"])

    def logical_axes(self, shape):
        return {"layers": {
            name: {"a": (None, PROJECTIONS[name][2], None), "b": (None, None, PROJECTIONS[name][3])} for name in self.targets
        }}


@jax.jit
def _merge(factor, weights, adapters):
    """W + factor A B for every adapted projection, computed in the weights' own precision."""
    layers = dict(weights["layers"])
    for name, pair in adapters.items():
        stored, half = STORED[name]
        whole = layers[stored]
        part = whole if half is None else whole[:, :, half]
        joined = part + (factor * (pair["a"] @ pair["b"])).reshape(part.shape).astype(whole.dtype)
        layers[stored] = joined if half is None else whole.at[:, :, half].set(joined)
    return {**weights, "layers": layers}
