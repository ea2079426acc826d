"""Where arrays live: one table from logical axes to mesh axes, from which every sharding follows."""

from __future__ import annotations

from typing import Any, Mapping

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

# Logical axis -> mesh axis. Weights are split over both: the model axis by heads, mlp and vocabulary, the data axis by
# width (fully sharded data parallelism); batches by rows. An axis that its mesh axis does not divide is replicated.
RULES = {"batch": "data", "width": "data", "vocabulary": "model", "heads": "model", "kv_heads": "model", "mlp": "model"}


def make_mesh(sizes: Mapping[str, int] | None = None) -> Mesh:
    """A mesh with axes data and model over the first data x model devices.

    Errors: ValueError where fewer devices are there than the mesh needs.
    """
    data, model = (int((sizes or {}).get(axis, 1)) for axis in ("data", "model"))
    devices = jax.devices()
    if data * model > len(devices):
        raise ValueError(
            f"machine.mesh asks for data {data} x model {model} = {data * model} devices, but {len(devices)} "
            f"{devices[0].platform} device(s) are here; make the mesh smaller or run on more devices"
        )
    grid = np.array(devices[: data * model]).reshape(data, model)
    return Mesh(grid, ("data", "model"), axis_types=(AxisType.Auto, AxisType.Auto))


def sharding(mesh: Mesh, logical: tuple[str | None, ...], shape: tuple[int, ...]) -> NamedSharding:
    """The sharding of one array from its logical axes. No mesh axis is used twice: the first taker keeps it."""
    taken: set[str] = set()
    spec: list[str | None] = []
    for name, length in zip(logical, shape, strict=True):
        axis = RULES[name] if name else None
        fits = axis is not None and axis not in taken and mesh.shape[axis] > 1 and length % mesh.shape[axis] == 0
        spec.append(axis if fits else None)
        if fits:
            taken.add(axis)
    while spec and spec[-1] is None:
        spec.pop()
    return NamedSharding(mesh, PartitionSpec(*spec))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def shardings(mesh: Mesh, axes: Any, tree: Any) -> Any:
    """Shardings for a pytree of arrays (or their shapes) from a matching pytree of logical axes."""
    leaves, structure = jax.tree.flatten(tree)
    names = structure.flatten_up_to(axes)
    return structure.unflatten(sharding(mesh, logical, leaf.shape) for logical, leaf in zip(names, leaves))


def like(mesh: Mesh, state: Any, weights: Any, weight_shardings: Any) -> Any:
    """Shardings of an optimizer's state: a leaf of a weight's shape lies as the weight does, any other is replicated.

    Matching is by path: an optimizer keeps its moments in trees of the weights' own structure.
    """
    by_path = {
        jax.tree_util.keystr(path): (leaf.shape, place)
        for (path, leaf), place in zip(jax.tree_util.tree_leaves_with_path(weights), jax.tree.leaves(weight_shardings))
    }

    def place(path, leaf):
        name = jax.tree_util.keystr(path)
        for suffix, (shape, where) in by_path.items():
            if name.endswith(suffix) and leaf.shape == shape:
                return where
        return replicated(mesh)

    return jax.tree_util.tree_map_with_path(place, state)
