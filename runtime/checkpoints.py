"""Checkpoints with Orbax: weights and training states as files that any mesh can read back."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from runtime import methods
from runtime.methods import Method
from runtime.model import Shape, abstract_weights


def _orbax():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # orbax warns about its own internals on import
        from orbax.checkpoint import v1

    return v1


def save(path: Path, tree: Any) -> None:
    """Writes a pytree of arrays; returns when it lies on disk whole. An older checkpoint at `path` is replaced."""
    leaves = {_name(p): leaf for p, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _orbax().save(Path(path).absolute(), leaves, overwrite=True)


def load(path: Path, like: Any) -> Any:
    """Reads what `save` wrote into the structure, dtypes and shardings of `like` (arrays or ShapeDtypeStructs)."""
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    # Where `like` names no sharding, the first device is meant: a checkpoint made on eight must load on one.
    default = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = {
        _name(p): jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None) or default)
        for p, leaf in paths
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        leaves = _orbax().load(Path(path).absolute(), abstract)
    return structure.unflatten(leaves[_name(p)] for p, _ in paths)


def _name(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def load_base(store, key: str, shape: Shape, dtype: Any = jnp.float32) -> dict[str, Any]:
    """The weights of a pretrained level, on the first device."""
    return load(Path(store.artifact(key)) / "weights", abstract_weights(shape, jnp.dtype(dtype)))


def load_model(store, identity: dict[str, Any]) -> tuple[Method, dict[str, Any], dict[str, Any]]:
    """`(method, base weights, trained pytree)` of an evaluate job's identity, as `Method.bind` takes them.

    A finetuning that never beat its base kept the untouched base (best step 0): then the method is `none`.
    """
    shape = Shape.of(identity["shape"])
    precision = identity["precision"]
    none = methods.of({"name": "none"})
    if identity["method"]["name"] == "none" or kept_base(store, identity["model"]):
        return none, load_base(store, identity["base"], shape, precision["weights"]), {}
    method = methods.of(identity["method"])
    dtype = precision["weights"] if method.trains_base else precision["frozen"]
    weights = abstract_weights(shape, jnp.dtype(dtype)) if method.trains_base else load_base(store, identity["base"], shape, dtype)
    trained = load_trained(store, identity["model"], method, shape, precision["weights"])
    return method, ({} if method.trains_base else weights), trained


def load_trained(store, key: str, method: Method, shape: Shape, dtype: Any) -> dict[str, Any]:
    """What a finetuning trained, from its artifact."""
    base = abstract_weights(shape, jnp.dtype(dtype))
    like = jax.eval_shape(lambda: method.init(shape, jax.tree.map(lambda w: jnp.zeros(w.shape, w.dtype), base), jax.random.key(0), jnp.dtype(dtype)))
    return load(Path(store.artifact(key)) / "trained", like)


def kept_base(store, key: str) -> bool:
    """Whether the finetuning `key` kept the untouched base."""
    return json.loads((Path(store.artifact(key)) / "kept.json").read_text())["step"] == 0


class Resume:
    """The latest training state of a job that may be killed: one folder a step, the newest whole one counts."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def steps(self) -> list[int]:
        """Steps of which a whole state lies here, rising."""
        return sorted(int(path.parent.name.split("-")[1]) for path in self.folder.glob("step-*/host.json"))

    def save(self, step: int, tree: Any, host: dict[str, Any], keep_others: bool = False) -> None:
        """Writes state and host facts; `host.json` comes last, so a half-written folder never counts."""
        target = self.folder / f"step-{step}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        save(target / "state", tree)
        partial = target / "host.json.part"
        partial.write_text(json.dumps(host))
        partial.rename(target / "host.json")
        for other in self.folder.glob("step-*"):
            if not keep_others and other != target:
                shutil.rmtree(other, ignore_errors=True)

    def load(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        source = self.folder / f"step-{step}"
        return load(source / "state", like), json.loads((source / "host.json").read_text())
