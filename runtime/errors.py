"""Errors of the runtime that are the input's fault and are shown to the user as they stand."""


class RuntimeInputError(Exception):
    """Something the user gave cannot be used; the message names the place, the value, what is accepted and what to do."""


class DataError(RuntimeInputError):
    """A data file, a row of one, or a synthetic world that cannot be used."""


class TokenizerError(RuntimeInputError):
    """A tokenizer that cannot be trained on this text, or a tokenizer file that cannot be read."""


EXPLAIN = {  # the warnings of jobs, for `tunelaw help`
    "TRAIN_DEV_OVERLAP": "Warning of a data job. Some dev examples have a source text that is in the training set too: the dev loss, which picks rates and checkpoints, looks better than it is. Take these examples out of one of the two.",
    "TOO_LONG": "Warning of an evaluation. More than one in a hundred examples of a set are longer than the task's lengths: their sources or targets were cut, or they were dropped. Losses are of what was left; other metrics compare with whole references. Raise tasks.NAME.lengths (and models.pretrain.sequence_length), or use a tokenizer with more pieces.",
    "WORSE_THAN_BASE": "Warning of a finetuning. No checkpoint beat the untouched base on the dev set; the base is what was kept.",
}
