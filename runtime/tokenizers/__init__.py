"""Tokenizers: trained with sentencepiece, loaded from a .model or a tokenizer.json, handed on in Hugging Face's layout."""

from runtime.tokenizers.export import to_huggingface
from runtime.tokenizers.load import Tokenizer, load
from runtime.tokenizers.train import train

__all__ = ["Tokenizer", "load", "to_huggingface", "train"]
