"""Check 3 of the house: one AdamW step of ours against torch on transformers + PEFT, and the loss of a test set.

The batch has ragged rows, so that wrong normalisation over targets or padding would show.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from runtime import batches
from runtime.data import encode
from runtime.export import export, llama_tensors, peft_tensors
from runtime.model import Execution
from runtime.optimizers import Schedule
from runtime.training import Program, train_step

pytestmark = pytest.mark.parity
RATE = 3e-3
OPTIMIZER = {"kind": "adamw", "schedule": "constant", "warmup_steps": 0, "clip": 1.0, "weight_decay": 0.01}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    # Adam's first step is the sign of the gradient: weights so sharp that gradients vanish would compare rounding errors
    return tiny.Made(tmp_path_factory.mktemp("store"), "gqa untied geglu", widen=1)


@pytest.fixture(scope="module")
def encoded(made):
    rows = [row for row in tiny.examples(60) if len(row["source"].split()) < 6][:12]
    return encode(rows, made.tokenizer, tiny.TASK)[0]


def load_exported(folder, method, train):
    """The exported model in transformers or PEFT, its trained part ready to be trained on if asked."""
    from peft import PeftConfig, PeftModel, get_peft_model
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    adapter = method.name in ("lora", "prompt")
    model = AutoModelForCausalLM.from_pretrained(folder / "base" if adapter else folder)
    if method.name == "prompt" and train:  # PEFT refuses to load a prompt for training: its values are put in by hand
        config = PeftConfig.from_pretrained(folder)
        config.inference_mode = False
        model = get_peft_model(model, config)
        saved = load_file(folder / "adapter_model.safetensors")["prompt_embeddings"]
        model.prompt_encoder["default"].embedding.weight.data.copy_(saved)
    elif adapter:
        model = PeftModel.from_pretrained(model, folder, is_trainable=train)
    return model.train(train)


def torch_batch(encoded, pad):
    import torch

    T = int(encoded.lengths().max())
    ids, mask, labels = (np.full((len(encoded), T), fill) for fill in (pad, 0, -100))
    for i in range(len(encoded)):
        row = encoded.ids[encoded.offsets[i] : encoded.offsets[i + 1]]
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
        labels[i, encoded.target_start[i] : len(row)] = row[encoded.target_start[i] :]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask), "labels": torch.tensor(labels)}


def ours(made, name, encoded, optimizer=OPTIMIZER):
    """(loss, trained tree before, trained tree after) of one step of the product's training step."""
    method, trained = made.tuned[name]
    program = Program.of(made.shape, method, optimizer, "float32", Execution())
    length, targets = batches.longest(encoded)
    batch = batches.rows_to_batch(encoded, np.arange(len(encoded)), length + 3, targets + 2, made.tokenizer.pad)
    state = {"trained": trained, "optimizer": program.transform().init(trained), "step": jnp.zeros((), jnp.int32)}
    schedule = Schedule.read(optimizer, RATE, 100)
    frozen = {} if method.trains_base else made.weights
    state, loss = jax.jit(train_step, static_argnums=0)(program, frozen, state, batch, schedule)
    return float(loss), trained, state["trained"]


def theirs(made, name, encoded, folder, decay=0.01):
    """(loss, {name: update}) of one step of torch.optim.AdamW, gradients clipped to norm 1."""
    import torch

    method, _ = made.tuned[name]
    export(made.store, made.keys[name], folder)
    model = load_exported(folder, method, train=True)
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    before = {n: p.detach().clone() for n, p in parameters.items()}
    optimizer = torch.optim.AdamW(parameters.values(), lr=RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=decay)
    loss = model(**torch_batch(encoded, made.tokenizer.pad)).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
    optimizer.step()
    return float(loss.detach()), {n: (p.detach() - before[n]).numpy() for n, p in parameters.items()}


def named(made, method, tree):
    """Our tree under the names that torch's parameters have."""
    if method.name == "full":
        return llama_tensors(made.shape, tree)
    tensors = peft_tensors(method, tree)
    if method.name == "prompt":
        return {"prompt_encoder.default.embedding.weight": tensors["prompt_embeddings"]}
    return {n.replace(".weight", ".default.weight"): value for n, value in tensors.items()}


def worst_difference(made, name, encoded, folder, **more):
    """(difference of the losses, largest relative L2 difference of a tensor's update)."""
    method, _ = made.tuned[name]
    loss, before, after = ours(made, name, encoded, **more)
    expected_loss, updates = theirs(made, name, encoded, folder)
    old, new = named(made, method, before), named(made, method, after)
    assert set(updates) == set(new)
    differences = [np.linalg.norm(new[n] - old[n] - updates[n]) / np.linalg.norm(updates[n]) for n in updates]
    return abs(loss - expected_loss), max(differences)


@pytest.mark.parametrize("name", tiny.METHODS)
def test_one_adamw_step(made, encoded, tmp_path, name):
    loss, update = worst_difference(made, name, encoded, tmp_path / "out")
    assert loss < 1e-5
    assert update < 1e-3


@pytest.mark.parametrize("change", [{"weight_decay": 0.0}, {"beta2": 0.95, "clip": 0.01, "weight_decay": 0.1}])
def test_another_optimizer_is_caught(made, encoded, tmp_path, change):
    _, update = worst_difference(made, "full", encoded, tmp_path / "out", optimizer=OPTIMIZER | change)
    assert update > 1e-3


@pytest.mark.parametrize("name", ["base", "full", "lora", "prompt"])
def test_the_loss_of_a_test_set(made, tmp_path, name):
    import torch

    rows = tiny.examples(60)
    key = tiny.data(made.store, test=rows)
    sets = [{"name": "test", "role": "test", "metrics": ["loss"], "language": None, "data": key}]
    body, _ = tiny.evaluate(made, tmp_path / "staging", name, sets)
    result = body["metrics"]["sets"]["test"]
    method, _ = made.tuned[name]
    export(made.store, made.keys[name], tmp_path / "out")
    model = load_exported(tmp_path / "out", method, train=False)
    encoded, _ = encode(rows, made.tokenizer, tiny.TASK)
    with torch.no_grad():
        loss = float(model(**torch_batch(encoded, made.tokenizer.pad)).loss)
    assert result["target_tokens"] == int(encoded.target_tokens().sum())
    assert result["loss_sum"] / result["target_tokens"] == pytest.approx(loss, abs=1e-5)
