"""Errors of the runtime that are the input's fault and are shown to the user as they stand."""


class RuntimeInputError(Exception):
    """Something the user gave cannot be used; the message names the place, the value, what is accepted and what to do."""


class DataError(RuntimeInputError):
    """A data file, a row of one, or a synthetic world that cannot be used."""


class TokenizerError(RuntimeInputError):
    """A tokenizer that cannot be trained on this text, or a tokenizer file that cannot be read."""
