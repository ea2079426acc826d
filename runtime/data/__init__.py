"""The runtime's data: synthetic worlds and files in, encoded examples and packed text out. NumPy only."""

from runtime.data.encode import EncodedSet, encode
from runtime.data.entropy import nats_per_token
from runtime.data.packed import PackedText
from runtime.data.rows import load_examples, load_shares, load_test
from runtime.data.subsets import batch_indices, epoch_order, subset

__all__ = ["EncodedSet", "PackedText", "batch_indices", "encode", "epoch_order", "load_examples", "load_shares", "load_test",
           "nats_per_token", "subset"]
