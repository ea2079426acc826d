"""The shape of a finetuning method, and the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, NamedTuple

import jax

from runtime.model import Shape, Weights

METHODS: dict[str, type["Method"]] = {}


class Bound(NamedTuple):
    """What a method makes of the base for one forward pass: arguments of `Transformer.__call__`."""

    weights: Weights
    adapters: tuple[Mapping[str, Any], float] | None = None
    prompt_PD: jax.Array | None = None


@dataclass(frozen=True)
class Method:
    """A method with its settings; frozen, so that it can key a compiled program.

    `trains_base`: the trained pytree replaces the base weights instead of standing beside them.
    """

    name: str = "none"
    trains_base = False

    def __init_subclass__(cls, name: str = "", **rest):
        super().__init_subclass__(**rest)
        if name:
            METHODS[name] = cls

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> "Method":
        """The method from a job's identity (`method`)."""
        raise TypeError(f"{cls.__name__} reads no settings")

    def init(self, shape: Shape, weights: Weights, key: jax.Array, dtype: Any) -> dict[str, Any]:
        """The trained pytree at step 0. It must leave the base's outputs as they are, or say why it cannot."""
        raise TypeError(f"{type(self).__name__} trains nothing")

    def bind(self, weights: Weights, trained: Mapping[str, Any]) -> Bound:
        """Base weights and trained pytree, joined for a forward pass."""
        raise TypeError(f"{type(self).__name__} binds nothing")

    def merged(self, weights: Weights, trained: Mapping[str, Any]) -> Weights | None:
        """Base weights that do alone what base and trained pytree do together; None where there are no such weights."""
        return None

    def logical_axes(self, shape: Shape) -> dict[str, Any]:
        """The trained pytree's logical axes, leaf by leaf (see runtime.mesh)."""
        raise TypeError(f"{type(self).__name__} trains nothing")


def of(config: Mapping[str, Any]) -> Method:
    """The method that a job's identity names; `{"name": "lora", ...}`."""
    name = config["name"]
    if name not in METHODS:
        raise KeyError(f"method {name!r} is not known; known methods: {', '.join(sorted(METHODS))}")
    return METHODS[name].read(config)
