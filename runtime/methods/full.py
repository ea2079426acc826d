"""Full-model tuning: every weight is trained."""

from __future__ import annotations

from dataclasses import dataclass

import jax

from runtime.methods.base import Bound, Method
from runtime.model import declared, nested


@dataclass(frozen=True)
class Full(Method, name="full"):
    name: str = "full"
    trains_base = True

    @classmethod
    def read(cls, config):
        return cls()

    def init(self, shape, weights, key, dtype):
        return jax.tree.map(lambda w: w.astype(dtype), weights)

    def bind(self, weights, trained):
        return Bound(trained)

    def logical_axes(self, shape):
        return nested({name: weight.logical for name, weight in declared(shape).items()})
