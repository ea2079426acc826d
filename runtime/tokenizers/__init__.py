"""Tokenizers: trained with sentencepiece, loaded from a .model or a tokenizer.json, handed on in Hugging Face's layout."""

from runtime.tokenizers.exporting import to_huggingface
from runtime.tokenizers.loading import Tokenizer, load
from runtime.tokenizers.training import train

__all__ = ["Tokenizer", "load", "to_huggingface", "train"]
