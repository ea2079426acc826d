"""Small models and batches for the runtime's tests."""

import jax
import jax.numpy as jnp
import numpy as np

from runtime import methods
from runtime.mesh import make_mesh
from runtime.model import Execution, Shape, init_weights
from runtime.optimizers import Schedule
from runtime.training import Program, Trainer

SHAPE = Shape(
    layers=3, width=16, heads=4, kv_heads=2, head_width=4, mlp=32, mlp_kind="swiglu",
    tied_embeddings=True, rope_base=10000.0, norm_epsilon=1e-6, vocabulary=40,
)
TARGETS = ["query", "key", "value", "output", "gate", "up", "down"]
METHODS = {
    "full": {"name": "full"},
    "lora": {"name": "lora", "rank": 2, "alpha": 3.0, "scale": "alpha/rank", "targets": TARGETS},
    "prompt": {"name": "prompt", "prompt_length": 3, "init": "vocabulary"},
}
ADAMW = {"kind": "adamw", "schedule": "cosine", "warmup_steps": 2, "clip": 1.0, "weight_decay": 0.01}


def base(shape=SHAPE, seed=0):
    """Weights at random, wide enough that mistakes show."""
    return jax.tree.map(lambda w: w * 2, init_weights(shape, jax.random.key(seed)))


def tuned(method, weights, shape=SHAPE, seed=1):
    """A trained pytree away from its start: LoRA's B is no longer zero."""
    trained = method.init(shape, weights, jax.random.key(seed), jnp.float32)
    leaves, structure = jax.tree.flatten(trained)
    noise = [0.05 * jax.random.normal(jax.random.fold_in(jax.random.key(seed), i), leaf.shape) for i, leaf in enumerate(leaves)]
    return structure.unflatten(leaf + n for leaf, n in zip(leaves, noise))


def chunk(steps=4, rows=8, length=12, targets=5, vocabulary=40, seed=0):
    """`steps` batches in which rows differ in how many targets they have."""
    draw = np.random.default_rng(seed)
    tokens = draw.integers(0, vocabulary, (steps, rows, length + 1)).astype(np.int32)
    index = np.broadcast_to(np.arange(length - targets, length), (steps, rows, targets)).astype(np.int32)
    weight = (np.arange(targets) < draw.integers(1, targets + 1, (steps, rows, 1))).astype(np.float32)
    labels = np.take_along_axis(tokens[..., 1:], index, axis=2)
    return {"tokens": tokens[..., :-1], "index": index, "labels": labels, "weight": weight}


def train(config, batches, steps, execution=Execution(), optimizer=ADAMW, rate=1e-2, mesh=None, shape=SHAPE):
    """Trains for `steps`; returns the losses, the state, and the trainer."""
    method = methods.of(config)
    trainer = Trainer(Program.of(shape, method, optimizer, "float32", execution), make_mesh(mesh))
    weights = base(shape)
    state = trainer.begin(method.init(shape, weights, jax.random.key(3), jnp.float32))
    schedule = Schedule.read(optimizer, rate, 10)
    state, losses = trainer.run(trainer.place_frozen(weights), state, trainer.place_batches(batches), steps, schedule)
    return np.asarray(losses)[:steps], state, trainer
