"""The exact conditional entropy of a synthetic world's targets given their sources, in nats: the loss of a perfect model.

A source sentence shows its whole meaning, and different free choices (synonyms, turned order) give different target sentences.
So H(target | source) is the mean, over meanings, of the summed entropies of the independent choices in saying them.
"""

from __future__ import annotations

import numpy as np

from runtime.data.lexicon import World
from runtime.data.world import Clauses


def choice_entropy(p: np.ndarray) -> np.ndarray:
    """Entropy in nats of a choice taken with probability `p`, of any shape; 0 where p is 0 or 1."""
    p = np.asarray(p, np.float64)
    q = 1.0 - p
    return -(p * np.log(np.where(p > 0, p, 1.0)) + q * np.log(np.where(q > 0, q, 1.0)))


def clause_entropy(world: World, language: str, clauses: Clauses) -> np.ndarray:
    """Exact entropy in nats of how each of the clauses [n] is said in `language`, float64 [n]."""
    tongue = world.languages[language]
    nouns, adjectives = choice_entropy(tongue.nouns.second), choice_entropy(tongue.adjectives.second)
    total = choice_entropy(tongue.turn_V)[clauses.verb] + choice_entropy(tongue.verbs.second)[clauses.verb]
    total = total + nouns[clauses.subject] + nouns[clauses.object]
    for adjective in (clauses.subject_adjective, clauses.object_adjective):
        total = total + np.where(adjective >= 0, adjectives[adjective], 0.0)
    return total


def clause_words(world: World, language: str, clauses: Clauses) -> np.ndarray:
    """Expected number of words of each of the clauses [n] said in `language`, float64 [n]."""
    words = 5.0 + (clauses.subject_adjective >= 0) + (clauses.object_adjective >= 0)
    return words + (world.languages["a"].turn_V[clauses.verb] if language == "a" else 0.0)


def expected_entropy(world: World, task: str, direction: str) -> dict:
    """Exact mean entropy over the world's own distribution of meanings: {"nats_per_target", "nats_per_word", "words_per_target"}.

    Of the unrestricted distribution: a data set's rows are distinct meanings, so frequent ones weigh a little less there
    (`rows_entropy` is exact for the rows at hand).
    """
    p = world.parameters
    language = direction[2] if task == "translation" else direction[0]
    tongue = world.languages[language]
    patient_N = preferred_nouns(world, world.object_cluster_V)
    if task == "translation":
        agent_N = preferred_nouns(world, world.subject_cluster_V)
        phrases_with_adjective = 2 * p["adjective_share"]
    else:
        # Either of two agents drawn without putting back acts most often: the mean of first and second draw.
        p_N = world.p_noun_N
        odds = p_N / (1.0 - p_N)
        agent_N = (p_N + p_N * (odds.sum() - odds)) / 2
        phrases_with_adjective = 0.0
    nats = world.p_verb_V @ (choice_entropy(tongue.turn_V) + choice_entropy(tongue.verbs.second))
    nats += (agent_N + patient_N) @ choice_entropy(tongue.nouns.second)
    nats += phrases_with_adjective * (world.p_adjective_A @ choice_entropy(tongue.adjectives.second))
    words = 5.0 + phrases_with_adjective + (world.p_verb_V @ tongue.turn_V if language == "a" else 0.0)
    return _entry(float(nats), float(words))


def rows_entropy(world: World, task: str, direction: str, meanings: Clauses) -> dict:
    """As `expected_entropy`, exact for these very sources: the mean over the rows of a data set (meanings [n] of their targets)."""
    language = direction[2] if task == "translation" else direction[0]
    return _entry(float(clause_entropy(world, language, meanings).mean()), float(clause_words(world, language, meanings).mean()))


def preferred_nouns(world: World, cluster_V: np.ndarray) -> np.ndarray:
    """Probability of each noun in the role whose preferred groups are `cluster_V` [V], over all verbs; float64 [N]."""
    mass = world.cluster_mass()
    wanted = np.bincount(cluster_V, weights=world.p_verb_V, minlength=len(mass))
    preference = world.parameters["preference"]
    return world.p_noun_N * ((1.0 - preference) + preference * (wanted / mass)[world.cluster_N])


def nats_per_token(entropy: dict, mean_target_tokens: float) -> float:
    """The entropy in nats per target token, given the mean number of tokens of a target with its end sign: what a loss compares to."""
    return entropy["nats_per_target"] / mean_target_tokens


def _entry(nats: float, words: float) -> dict:
    return {"nats_per_target": nats, "nats_per_word": nats / words, "words_per_target": words}
