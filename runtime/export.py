"""Out again: a model as a Hugging Face folder in Llama layout, an adapter in PEFT's format beside its base.

transformers and PEFT load what is written here and give our logits; neither is needed to write it.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from runtime import checkpoints, tokenizers
from runtime.errors import RuntimeInputError
from runtime.methods import Method
from runtime.model import Shape
from runtime.store import Store

ACTIVATIONS = {"swiglu": "silu", "geglu": "gelu_pytorch_tanh"}
MODULES = {
    "query": "self_attn.q_proj", "key": "self_attn.k_proj", "value": "self_attn.v_proj", "output": "self_attn.o_proj",
    "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
}
EXPORTABLE = "a base model (pretrain, level) or a finetuned model (finetune)"


class ExportError(RuntimeInputError):
    """A key that cannot be exported, or a folder that cannot be written."""


def export(store: Store, key: str, out_dir: str | Path) -> str:
    """Writes the model of `key` (a whole key, or a beginning that only one has) into the new folder `out_dir`.

    A base or fully finetuned model becomes one Hugging Face folder; LoRA and prompt become a PEFT adapter with its
    base in `base/`. A finetuning that kept the untouched base becomes that base. `README.md` in the folder says how
    to load it. Returns a few lines for people; raises ExportError. The folder appears whole or not at all.
    """
    out = Path(out_dir).absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"-o {out_dir}: is there already and not an empty folder; name a new one, or remove it first")
    record = _find(store, key)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        text = _write(store, record, partial)
        if out.exists():
            out.rmdir()
        os.rename(partial, out)
    except OSError as error:
        raise ExportError(f"-o {out_dir}: cannot be written ({error.strerror or error}); name a folder that can") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return text.replace("FOLDER", str(out_dir))


def exportable(store: Store) -> list[str]:
    """One line for each model in the store that can be exported: key and what it is."""
    records = (store.record(key) for key in store.keys())
    return [f"{record['key']}  {_what(record)}" for record in records if record and _is_model(record)]


def _is_model(record: Mapping[str, Any]) -> bool:
    return record["kind"] == "finetune" or (record["kind"] == "pretrain" and record["role"] == "level")


def _what(record: Mapping[str, Any]) -> str:
    """A record's kind and factors in words: `finetune (sweep), task translation, method lora, rank 4`."""
    factors = ", ".join(f"{name} {value}" for name, value in record.get("factors", {}).items() if value not in (None, ""))
    role = "" if record["role"] in ("cell", "level") else f" ({record['role']})"
    return f"{'base model' if record['kind'] == 'pretrain' else record['kind']}{role}, {factors}".rstrip(", ")


def _find(store: Store, key: str) -> dict[str, Any]:
    """The record of a model that can be exported."""
    records = {full: record for full in store.keys() if key and full.startswith(key) and (record := store.record(full))}
    if key in records:
        records = {key: records[key]}
    if len(records) == 1:
        (full, record), = records.items()
        if _is_model(record):
            return record
        what = f"{full} is no model: it is a {record['kind']} job ({record['role']})"
    elif records:
        what = f"{len(records)} keys begin with {key!r}"
    else:
        what = f"no finished job has the key {key!r} in the store {store.root}"
    lines = exportable(store)
    known = "\n".join(["What can be exported:", *(f"  {line}" for line in lines[:40])]) if lines else "Nothing there can be exported yet; run a study first."
    more = f"\n  ... and {len(lines) - 40} more" if len(lines) > 40 else ""
    raise ExportError(f"export: {what}; accepted is the key of {EXPORTABLE}.\n{known}{more}")


def _write(store: Store, record: Mapping[str, Any], folder: Path) -> str:
    """Fills `folder`; returns what to tell."""
    identity = dict(record["identity"], model=record["key"])
    if record["kind"] == "pretrain":
        identity.update(base=record["key"], method={"name": "none"})
    shape = Shape.of(identity["shape"])
    method, weights, trained = checkpoints.load_model(store, identity)
    tokenizer = store.artifact(identity["tokenizer"])
    adapter = method.name in ("lora", "prompt")
    model = folder / "base" if adapter else folder
    write_model(shape, trained if method.trains_base else weights, tokenizer, model, identity.get("sequence_length"))
    if adapter:
        write_adapter(shape, method, trained, folder)
    kept = record["kind"] == "finetune" and method.name == "none"
    note = "This finetuning kept the untouched base (its best step is 0), so this is the base model.\n" if kept else ""
    load = _loading(adapter)
    readme = f"# {_what(record)}\n\nMade by tunelaw, key `{record['key']}`.\n{note}\n{load}\n{_prompting(identity)}"
    _write_text(folder / "README.md", readme)
    kind = f"PEFT adapter ({method.name}) in FOLDER, its base model in FOLDER/base" if adapter else "Hugging Face folder (Llama layout) in FOLDER"
    return f"{kind}\n{note}Load it with:\n{load}"


def _loading(adapter: bool) -> str:
    lines = ["from transformers import AutoModelForCausalLM, AutoTokenizer"]
    if adapter:
        lines += [
            "from peft import PeftModel",
            'tokenizer = AutoTokenizer.from_pretrained("FOLDER/base")',
            'model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("FOLDER/base"), "FOLDER")',
        ]
    else:
        lines += ['tokenizer = AutoTokenizer.from_pretrained("FOLDER")', 'model = AutoModelForCausalLM.from_pretrained("FOLDER")']
    return "\n".join(f"    {line}" for line in lines)


def _prompting(identity: Mapping[str, Any]) -> str:
    """How an input is put to the model, as README text."""
    text = "\nFOLDER stands for where this folder lies. The tokenizer puts the begin token in front by itself.\n"
    task = identity.get("task")
    if task:
        text += (
            f"\nTrained on inputs of the form `{task['template']}`, at most {task['lengths']['source']} tokens, followed by at most "
            f"{task['lengths']['target']} tokens of target and the end token. The two parts are tokenised apart, without a space between.\n"
        )
    return text


def write_model(shape: Shape, weights: Mapping[str, Any], tokenizer: Path, folder: Path, sequence_length: int | None = None) -> None:
    """A Hugging Face folder in Llama layout: config.json, generation_config.json, model.safetensors and the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizers.to_huggingface(tokenizer, folder)
    signs = tokenizers.load(tokenizer)
    special = {"bos_token_id": signs.bos, "eos_token_id": signs.eos, "pad_token_id": signs.pad}
    tensors = llama_tensors(shape, weights)
    dtype = str(tensors["model.embed_tokens.weight"].dtype)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "vocab_size": shape.vocabulary, "hidden_size": shape.width, "intermediate_size": shape.mlp,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width, "hidden_act": ACTIVATIONS[shape.mlp_kind], "rms_norm_eps": shape.norm_epsilon,
        # transformers 4 reads rope_theta, transformers 5 rope_parameters
        "rope_theta": shape.rope_base, "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_base},
        "tie_word_embeddings": shape.tied_embeddings, "attention_bias": False, "attention_dropout": 0.0, "mlp_bias": False,
        "max_position_embeddings": max(2048, sequence_length or 0), "initializer_range": 0.02, "use_cache": True,
        "torch_dtype": dtype, "dtype": dtype, **special,
    }
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", {"do_sample": False, **special})
    _write_tensors(folder / "model.safetensors", tensors)


def llama_tensors(shape: Shape, weights: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Our weights under Llama's names, [outputs, inputs] as torch.nn.Linear has them."""
    w = {name: np.asarray(value) for name, value in weights["layers"].items()}
    D, H, G, K, F = shape.width, shape.heads, shape.kv_heads, shape.head_width, shape.mlp
    tensors = {"model.embed_tokens.weight": np.asarray(weights["embed"]), "model.norm.weight": np.asarray(weights["final_norm"])}
    if not shape.tied_embeddings:
        tensors["lm_head.weight"] = np.asarray(weights["unembed"])
    for i in range(shape.layers):
        layer = {
            "input_layernorm": w["attention_norm"][i],
            "post_attention_layernorm": w["mlp_norm"][i],
            "self_attn.q_proj": w["query"][i].reshape(D, H * K).T,
            "self_attn.k_proj": w["key_value"][i][:, 0].reshape(D, G * K).T,
            "self_attn.v_proj": w["key_value"][i][:, 1].reshape(D, G * K).T,
            "self_attn.o_proj": w["output"][i].reshape(H * K, D).T,
            "mlp.gate_proj": w["gate_up"][i][:, 0].reshape(D, F).T,
            "mlp.up_proj": w["gate_up"][i][:, 1].reshape(D, F).T,
            "mlp.down_proj": w["down"][i].reshape(F, D).T,
        }
        tensors |= {f"model.layers.{i}.{name}.weight": value for name, value in layer.items()}
    return tensors


def write_adapter(shape: Shape, method: Method, trained: Mapping[str, Any], folder: Path) -> None:
    """A PEFT adapter: adapter_config.json and adapter_model.safetensors. Its base is named `base`, beside it."""
    common = {"base_model_name_or_path": "base", "task_type": "CAUSAL_LM", "inference_mode": True, "revision": None}
    if method.name == "lora":
        config = common | {
            "peft_type": "LORA", "r": method.rank, "target_modules": [MODULES[name].split(".")[1] for name in method.targets],
            # a scale of one is alpha = rank in PEFT's terms
            "lora_alpha": method.rank if method.scale == "none" else method.alpha,
            "use_rslora": method.scale == "alpha/sqrt(rank)",
            "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False, "init_lora_weights": True,
        }
    else:
        config = common | {
            "peft_type": "PROMPT_TUNING", "num_virtual_tokens": method.prompt_length, "token_dim": shape.width,
            "num_transformer_submodules": 1, "num_attention_heads": shape.heads, "num_layers": shape.layers,
            "prompt_tuning_init": "RANDOM",
        }
    _write_json(folder / "adapter_config.json", config)
    _write_tensors(folder / "adapter_model.safetensors", peft_tensors(method, trained))


def peft_tensors(method: Method, trained: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What LoRA or prompt tuning trained, under PEFT's names."""
    if method.name == "prompt":
        return {"prompt_embeddings": np.asarray(trained["prompt"])}
    tensors = {}
    for name, pair in trained["layers"].items():
        for half, stacked in (("lora_A", pair["a"]), ("lora_B", pair["b"])):
            for i, value in enumerate(np.asarray(stacked)):
                tensors[f"base_model.model.model.layers.{i}.{MODULES[name]}.{half}.weight"] = value.T
    return tensors


def _write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    from safetensors.numpy import save_file

    # safetensors writes the buffer as it lies: a transposed view must become an array of its own first
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path, metadata={"format": "pt"})


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    _write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
