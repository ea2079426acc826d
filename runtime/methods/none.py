"""No finetuning: the base as it is, the baseline of every comparison."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.methods.base import Bound, Method


@dataclass(frozen=True)
class NoTuning(Method, name="none"):
    name: str = "none"

    @classmethod
    def read(cls, config):
        return cls()

    def init(self, shape, weights, key, dtype):
        return {}

    def bind(self, weights, trained):
        return Bound(weights)

    def logical_axes(self, shape):
        return {}
