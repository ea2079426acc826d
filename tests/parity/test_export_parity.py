"""What is exported, loaded by the real transformers and PEFT, gives our logits and our greedy outputs."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from runtime import decode
from runtime.decode import Decoding
from runtime.export import export
from runtime.model import bind

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module", params=tiny.SHAPES)
def made(request, tmp_path_factory):
    return tiny.Made(tmp_path_factory.mktemp("store"), request.param)


def load_exported(folder, adapter):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, LlamaForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder / "base" if adapter else folder)
    assert isinstance(model, LlamaForCausalLM)
    return (PeftModel.from_pretrained(model, folder) if adapter else model).eval()


def theirs(model, tokens):
    import torch

    with torch.no_grad():
        return model(input_ids=torch.tensor(tokens)).logits.numpy()


def ours(shape, method, weights, trained, tokens):
    bound = method.bind(weights, trained)
    model = bind(shape, bound.weights)
    return np.asarray(model.logits(model(jnp.asarray(tokens), bound.adapters, bound.prompt_PD)))


@pytest.mark.parametrize("name", ["base", *tiny.METHODS])
def test_logits_and_greedy_outputs(made, name, tmp_path):
    import torch

    shape, weights, signs = made.shape, made.weights, made.tokenizer
    method, trained = made.tuned[name]
    folder = tmp_path / "out"
    text = export(made.store, made.keys[name], folder)
    assert str(folder) in text
    adapter = method.name in ("lora", "prompt")
    model = load_exported(folder, adapter)
    tokens = np.random.default_rng(0).integers(4, shape.vocabulary, (3, 17))
    expected = ours(shape, method, weights, trained, tokens)
    got = theirs(model, tokens)[:, -tokens.shape[1] :]
    assert np.std(expected) > 0.5
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)

    prompts = [tokens[0, :9].tolist(), tokens[1, :4].tolist(), tokens[2].tolist()]
    decoding = Decoding(shape, method, max_tokens=10, end=signs.eos, pad=signs.pad)
    mine = decode.decode(decoding, weights, trained, prompts)
    for prompt, continuation in zip(prompts, mine):
        ids = torch.tensor([prompt])
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, do_sample=False)[0].tolist()
        out = out[len(prompt) :] if out[: len(prompt)] == prompt else out
        if signs.eos in out:
            out = out[: out.index(signs.eos)]
        assert out == continuation


def test_the_adapter_matters(made):
    """The comparison above would catch an adapter that is not applied."""
    tokens = np.random.default_rng(0).integers(4, made.shape.vocabulary, (1, 8))
    logits = {name: ours(made.shape, method, made.weights, trained, tokens) for name, (method, trained) in made.tuned.items()}
    for name in tiny.METHODS:
        assert np.abs(logits[name] - logits["base"]).max() > 0.05, name


def test_a_wrong_scale_is_caught(made, tmp_path):
    """alpha/sqrt(rank) exported as alpha/rank does not pass."""
    method, trained = made.tuned["lora-sqrt"]
    export(made.store, made.keys["lora-sqrt"], tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["use_rslora"] is True
    (tmp_path / "out" / "adapter_config.json").write_text(json.dumps(config | {"use_rslora": False}))
    tokens = np.random.default_rng(0).integers(4, made.shape.vocabulary, (1, 8))
    got = theirs(load_exported(tmp_path / "out", True), tokens)
    assert np.abs(got - ours(made.shape, method, made.weights, trained, tokens)).max() > 1e-2


def test_the_tokenizer_comes_along(made, tmp_path):
    from transformers import AutoTokenizer

    export(made.store, made.keys["base"], tmp_path / "out")
    signs = made.tokenizer
    theirs_ = AutoTokenizer.from_pretrained(tmp_path / "out")
    for text in tiny.sentences()[:20]:
        assert theirs_(text, add_special_tokens=False)["input_ids"] == signs.encode([text])[0]
        assert theirs_(text)["input_ids"] == [signs.bos, *signs.encode([text])[0]]
    assert theirs_.eos_token_id == signs.eos and theirs_.pad_token_id == signs.pad
