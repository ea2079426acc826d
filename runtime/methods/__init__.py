"""Finetuning methods: what is trained, and how it joins the frozen base. A registry entry, one file and one test add one."""

from runtime.methods.base import METHODS, Bound, Method, of

from runtime.methods import full, lora, none, prompt  # noqa: F401  (each registers its method)

__all__ = ["METHODS", "Bound", "Method", "of"]
