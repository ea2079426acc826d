"""Exported folders: what lies in them, and what is refused (the real libraries load them in tests/parity)."""

import json

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file

from runtime.export import ExportError, export, exportable


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tiny.Made(tmp_path_factory.mktemp("store"), "gqa untied geglu", names=("full", "lora-sqrt", "lora-none", "prompt"))


def test_a_base_becomes_a_llama_folder(made, tmp_path):
    text = export(made.store, made.keys["base"], tmp_path / "out")
    assert "AutoModelForCausalLM" in text and str(tmp_path / "out") in text
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == [
        "README.md", "config.json", "generation_config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json",
        "tokenizer.model", "tokenizer_config.json",
    ]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    expected = {
        "architectures": ["LlamaForCausalLM"], "num_key_value_heads": 2, "head_dim": 8, "rope_theta": 500.0, "rms_norm_eps": 1e-5,
        "hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": False, "eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0,
    }
    assert expected.items() <= config.items()
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert sum(t.size for t in tensors.values()) == sum(np.size(x) for x in (made.weights["embed"], made.weights["unembed"], made.weights["final_norm"], *made.weights["layers"].values()))
    # [outputs, inputs]: the up projection of layer 1 is the second of the fused pair
    np.testing.assert_array_equal(tensors["model.layers.1.mlp.up_proj.weight"], np.asarray(made.weights["layers"]["gate_up"])[1][:, 1].T)


def test_an_adapter_comes_with_its_base(made, tmp_path):
    export(made.store, made.keys["lora-none"], tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["lora_alpha"] == config["r"] == 2 and config["use_rslora"] is False and config["base_model_name_or_path"] == "base"
    assert sorted(config["target_modules"]) == ["down_proj", "gate_proj", "o_proj", "v_proj"]
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert len(tensors) == 4 * 2 * made.shape.layers
    base = load_file(tmp_path / "out" / "base" / "model.safetensors")
    np.testing.assert_array_equal(base["model.embed_tokens.weight"], np.asarray(made.weights["embed"]))
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "PeftModel" in readme and "{source} =>" in readme and made.keys["lora-none"] in readme

    export(made.store, made.keys["prompt"], tmp_path / "prompt")
    config = json.loads((tmp_path / "prompt" / "adapter_config.json").read_text())
    assert config["peft_type"] == "PROMPT_TUNING" and config["num_virtual_tokens"] == 5
    assert load_file(tmp_path / "prompt" / "adapter_model.safetensors")["prompt_embeddings"].shape == (5, 32)


@pytest.mark.parametrize("name", ["full", "prompt"])
def test_a_run_that_kept_the_base_is_the_base(made, tmp_path, name):
    key, *_ = tiny.finetuned(made.store, made.shape, made.keys["base"], made.weights, made.keys["tokenizer"], name, kept=0)
    text = export(made.store, key, tmp_path / "out")
    assert "kept the untouched base" in text and "kept the untouched base" in (tmp_path / "out" / "README.md").read_text()
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    np.testing.assert_array_equal(tensors["model.embed_tokens.weight"], np.asarray(made.weights["embed"]))


def test_a_beginning_of_a_key_is_enough_where_only_one_has_it(made, tmp_path):
    export(made.store, made.keys["base"][:12], tmp_path / "out")
    assert made.keys["base"] in (tmp_path / "out" / "README.md").read_text()


def test_what_cannot_be_exported_is_refused_with_what_can(made, tmp_path):
    with pytest.raises(ExportError, match="no finished job has the key 'nothing'") as caught:
        export(made.store, "nothing", tmp_path / "out")
    assert made.keys["full"] in str(caught.value) and made.keys["tokenizer"] not in str(caught.value)
    with pytest.raises(ExportError, match="is no model: it is a tokenizer job"):
        export(made.store, made.keys["tokenizer"], tmp_path / "out")
    with pytest.raises(ExportError, match="no finished job"):
        export(made.store, "", tmp_path / "out")
    assert not (tmp_path / "out").exists() and list(tmp_path.iterdir()) == []
    assert any(line.startswith(made.keys["lora-sqrt"]) and "rank 4" in line for line in exportable(made.store))


def test_nothing_is_overwritten(made, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(ExportError, match="not an empty folder"):
        export(made.store, made.keys["base"], tmp_path / "out")
    (tmp_path / "out" / "mine.txt").unlink()
    export(made.store, made.keys["base"], tmp_path / "out")  # an empty folder is fine
    assert (tmp_path / "out" / "config.json").exists()


def test_a_failed_export_leaves_nothing(made, tmp_path, monkeypatch):
    monkeypatch.setattr("runtime.export._write_tensors", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ExportError, match="No space left"):
        export(made.store, made.keys["base"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
