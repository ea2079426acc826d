"""Counts of parameters, FLOPs and bytes from a shape and a method: the one place where they are counted.

A shape is a dict {layers, width, heads, kv_heads, head_width, mlp, mlp_kind, tied_embeddings, vocabulary, ..}; a method
is a dict {name: none | full | lora | prompt, rank, targets, prompt_length, ..}, as they stand in a job's identity.

FLOPs. A product of [m, k] and [k, n] is 2 m k n. With S the weights of all projections (norms and embedding look-ups
cost nothing here), L layers, H heads of width K, V the vocabulary and D the width, a forward pass over a sequence of T
positions, of which Q meet the vocabulary, costs

    forward = 2 S T + 4 L H K T^2 + 2 V D Q          (projections, attention as computed: all T x T, unembedding)

Training costs 3 x forward when every weight is trained (activation and weight gradients), 2 x forward plus 3 x the
adapters' own forward when the base is frozen. With S = N these are the well-known 6 N and 4 N a token, plus attention and
unembedding. Greedy decoding of G tokens after a prompt of T: forward over T, then one position at a time against a cache
of T + G positions.
"""

from __future__ import annotations

import math
from typing import Any, Mapping

ATTENTION = ("query", "key", "value", "output")
MLP = ("gate", "up", "down")
GROUPS = {"attention": ATTENTION, "mlp": MLP}
BYTES = {"float32": 4, "bfloat16": 2}

Shape = Mapping[str, Any]
Method = Mapping[str, Any]


def projections(shape: Shape) -> dict[str, tuple[int, int]]:
    """(inputs, outputs) of each projection of one layer; gated MLPs have three matrices."""
    width, head = shape["width"], shape["head_width"]
    queries, pairs = shape["heads"] * head, shape["kv_heads"] * head
    return {
        "query": (width, queries), "key": (width, pairs), "value": (width, pairs), "output": (queries, width),
        "gate": (width, shape["mlp"]), "up": (width, shape["mlp"]), "down": (shape["mlp"], width),
    }


def expand_targets(words: list[str]) -> list[str]:
    """The single projections that LoRA's target words name, sorted and each once. Raises KeyError for another word."""
    found: set[str] = set()
    for word in words:
        if word not in GROUPS and word not in ATTENTION + MLP:
            raise KeyError(f"no projection is called {word!r}; there are {', '.join([*GROUPS, *ATTENTION, *MLP])}")
        found.update(GROUPS.get(word, (word,)))
    return sorted(found)


def parameters(shape: Shape) -> dict[str, int]:
    """{total, embedding, non_embedding}: every base weight, tied embeddings once; norms are non-embedding."""
    matrices = shape["layers"] * sum(i * o for i, o in projections(shape).values())
    norms = (2 * shape["layers"] + 1) * shape["width"]
    embedding = shape["vocabulary"] * shape["width"] * (1 if shape["tied_embeddings"] else 2)
    return {"total": matrices + norms + embedding, "embedding": embedding, "non_embedding": matrices + norms}


def adapter_parameters(shape: Shape, method: Method) -> int:
    """What a PEFT method adds: LoRA r (inputs + outputs) a projection and layer, prompt length x width; else 0."""
    if method["name"] == "lora":
        sizes = projections(shape)
        return shape["layers"] * method["rank"] * sum(sum(sizes[target]) for target in method["targets"])
    if method["name"] == "prompt":
        return method["prompt_length"] * shape["width"]
    if method["name"] in ("full", "none"):
        return 0
    raise KeyError(f"no method is called {method['name']!r}; there are none, full, lora, prompt")


def trainable(shape: Shape, method: Method) -> int:
    """Number of parameters that a method trains: all for full, the adapters for LoRA and prompt, 0 for none."""
    return parameters(shape)["total"] if method["name"] == "full" else adapter_parameters(shape, method)


def forward_flops(shape: Shape, length: int, scored: int) -> int:
    """FLOPs of one forward pass over one sequence of `length` positions of which `scored` meet the vocabulary."""
    matrices = shape["layers"] * sum(i * o for i, o in projections(shape).values())
    attention = shape["layers"] * shape["heads"] * shape["head_width"]
    return 2 * matrices * length + 4 * attention * length**2 + 2 * shape["vocabulary"] * shape["width"] * scored


def train_flops(shape: Shape, method: Method, length: int, scored: int) -> int:
    """FLOPs of forward and backward for one sequence; a prompt's own positions are added to `length`."""
    if method["name"] == "full":
        return 3 * forward_flops(shape, length, scored)
    if method["name"] == "prompt":
        return 2 * forward_flops(shape, length + method["prompt_length"], scored)
    if method["name"] == "lora":
        return 2 * forward_flops(shape, length, scored) + 6 * adapter_parameters(shape, method) * length
    raise KeyError(f"method {method['name']!r} trains nothing")


def score_flops(shape: Shape, method: Method, length: int, scored: int) -> int:
    """FLOPs of the loss of one sequence under a method."""
    extra = method["prompt_length"] if method["name"] == "prompt" else 0
    adapters = 2 * adapter_parameters(shape, method) * length if method["name"] == "lora" else 0
    return forward_flops(shape, length + extra, scored) + adapters


def decode_flops(shape: Shape, method: Method, length: int, generated: int) -> int:
    """FLOPs of greedy decoding of `generated` tokens after `length` positions, with a cache."""
    start = length + (method["prompt_length"] if method["name"] == "prompt" else 0)
    attention = shape["layers"] * shape["heads"] * shape["head_width"]
    step = forward_flops(shape, 1, 1) - 4 * attention + 4 * attention * (start + generated)
    adapters = 2 * adapter_parameters(shape, method) * generated if method["name"] == "lora" else 0
    return score_flops(shape, method, length, 1) + generated * step + adapters


def pretrain_flops(shape: Shape, steps: int, batch_size: int, sequence_length: int) -> int:
    """FLOPs of `steps` pretraining steps; every position meets the vocabulary."""
    return steps * batch_size * train_flops(shape, {"name": "full"}, sequence_length, sequence_length)


def evaluations(steps: int, at: list[int], every: int) -> int:
    """How often the dev set is scored in a finetuning: at the named steps, then regularly, and at the end."""
    regular = set(range(every, steps + 1, every))
    return len({step for step in at if step <= steps} | {step for step in regular if step > max(at)} | {steps})


def finetune_flops(
    shape: Shape, method: Method, steps: int, batch_size: int, source: int, target: int, dev_examples: int, scorings: int
) -> int:
    """FLOPs of a finetuning at the longest lengths (an upper bound): steps, and the dev set at every scoring."""
    length, scored = source + target + 1, target + 1
    return steps * batch_size * train_flops(shape, method, length, scored) + scorings * dev_examples * score_flops(
        shape, method, length, scored
    )


def memory_bytes(
    shape: Shape, method: Method, precision: Mapping[str, str], optimizer: str, batch_size: int, length: int, scored: int
) -> int:
    """Estimate of a job's peak bytes: weights, gradients, optimizer state, and activations kept for the backward pass.

    Trained weights stand three times more with adamw (gradient, two moments), about once more with adafactor (gradient;
    factored moments are small). A layer keeps its input, projections' inputs and outputs, and heads x T x T attention
    weights; the vocabulary's logits stand twice. Nothing is assumed to be rematerialised. `method` none: no training.
    """
    total, trained = parameters(shape)["total"], trainable(shape, method)
    training = method["name"] != "none"
    frozen = 0 if method["name"] == "full" else total
    weight, cold = BYTES[precision["weights"]], BYTES[precision.get("frozen", precision["weights"])]
    weights = trained * weight + frozen * cold
    states = trained * (weight + (8 if optimizer == "adamw" else 1)) if training else 0
    compute = BYTES[precision["compute"]]
    length += method["prompt_length"] if method["name"] == "prompt" else 0
    kept = 2 * shape["width"] + sum(i + o for i, o in projections(shape).values()) + shape["heads"] * length * 2
    layers = shape["layers"] if training else 1
    activations = batch_size * length * layers * kept * compute + 2 * batch_size * scored * shape["vocabulary"] * 4
    return int(math.ceil(weights + states + activations))
