"""The two languages of a synthetic world: words, frequencies, genders, articles and the choices a speaker is free to make.

Legend: N nouns, V verbs, A adjectives; every [.., 2] holds a word and its synonym.

Meanings are numbered by frequency rank. Language `a` puts the verb in the middle and adjectives before the noun, its articles show
number; it may turn a clause round with a marker word (a passive). Language `b` puts the verb last and adjectives after the noun, its
articles show case, number and the noun's gender, so that it may put the object first. Synonyms and these turns are the only freedom
of a translation: all else follows from the meaning, and either language shows the whole meaning.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np

from runtime.errors import DataError

LANGUAGES = ("a", "b")
GENDERS = 3
NOMINATIVE, ACCUSATIVE = 0, 1

DEFAULTS = {
    "seed": 0,
    "nouns": 3000,
    "verbs": 1200,
    "adjectives": 800,
    "zipf": 1.0,
    "syllables": 96,
    "clusters": 24,           # groups of nouns that verbs prefer
    "preference": 0.8,        # how often a verb takes a noun of its preferred group
    "adjective_share": 0.35,  # how often a noun has an adjective
    "synonyms": 0.3,          # share of the meanings that have a second word, language by language
    "turns": 0.25,            # mean probability of the turned word order, verb by verb
}

_RANGES = {
    "seed": (0, 2**63 - 1), "nouns": (2, 200_000), "verbs": (1, 200_000), "adjectives": (1, 200_000), "zipf": (0.0, 4.0),
    "syllables": (4, 270), "clusters": (1, 10_000), "preference": (0.0, 1.0), "adjective_share": (0.0, 1.0),
    "synonyms": (0.0, 1.0), "turns": (0.0, 0.5),
}

_ONSETS = ["b", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "sh", "ch", "th",
           "br", "dr", "gr", "kr", "pr", "tr", "bl", "fl", "gl", "kl"]
# The plain endings first: the others are used only where the plain ones do not suffice.
_NUCLEI = {"a": (["a", "e", "i", "o", "u"], ["ai", "ei", "oi", "au", "ou"]),
           "b": (["an", "en", "in", "on", "ün"], ["ar", "er", "ir", "or", "ür"])}


def named_stream(seed: int, *names: object) -> np.random.Generator:
    """A random stream of its own for every name; the same on every machine.

    Only `random()` is to be drawn from it: numpy keeps that stream fixed, while its derived distributions may change.
    """
    words = [zlib.crc32(str(name).encode()) for name in names]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))


def shuffled(rng: np.random.Generator, n: int) -> np.ndarray:
    """A permutation of range(n), int64 [n]."""
    return np.argsort(rng.random(n), kind="stable")


def world_parameters(given: dict) -> dict:
    """The parameters of a world with defaults filled in. Raises DataError for an unknown key or a value out of range."""
    unknown = sorted(set(given) - set(DEFAULTS))
    if unknown:
        raise DataError(f"synthetic world: unknown parameter {unknown[0]!r}; known are {', '.join(DEFAULTS)}")
    out = dict(DEFAULTS)
    for name, value in given.items():
        low, high = _RANGES[name]
        whole = isinstance(DEFAULTS[name], int)
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            raise DataError(f"synthetic world: {name} is {value!r}; it must be {kind} from {low} to {high}")
        out[name] = value if whole else float(value)
    out["clusters"] = min(out["clusters"], out["nouns"])
    return out


@dataclass(frozen=True)
class Words:
    """The words of one part of speech in one language: `forms` [n, 2] (word, synonym or the word again), `second` [n] P(synonym)."""

    forms: np.ndarray
    second: np.ndarray


@dataclass(frozen=True)
class Language:
    """One language: its words, articles [2 cases, 2 definiteness, 2 numbers, GENDERS], P(turned order) by verb [V], marker word."""

    name: str
    nouns: Words
    verbs: Words
    adjectives: Words
    articles: np.ndarray
    turn_V: np.ndarray
    marker: str


class World:
    """Everything a synthetic world fixes once: frequencies, noun groups, verb preferences, genders and both languages.

    p_noun_N, p_verb_V, p_adjective_A are the Zipf frequencies; cluster_N the group of each noun; subject_cluster_V and
    object_cluster_V what each verb prefers; gender_N the gender of each noun in language b.
    """

    def __init__(self, parameters: dict):
        self.parameters = world_parameters(parameters)
        p = self.parameters
        self.seed = p["seed"]
        self.p_noun_N = _zipf(p["nouns"], p["zipf"])
        self.p_verb_V = _zipf(p["verbs"], p["zipf"])
        self.p_adjective_A = _zipf(p["adjectives"], p["zipf"])
        rng = named_stream(self.seed, "grammar")
        # Equal groups by a shuffled deal, so that no group is empty in a small world.
        self.cluster_N = np.empty(p["nouns"], np.int64)
        self.cluster_N[shuffled(rng, p["nouns"])] = np.arange(p["nouns"]) % p["clusters"]
        self.subject_cluster_V = _pick(rng, p["verbs"], p["clusters"])
        self.object_cluster_V = _pick(rng, p["verbs"], p["clusters"])
        self.gender_N = _pick(rng, p["nouns"], GENDERS)
        self.languages = {name: _make_language(name, p) for name in LANGUAGES}

        self._by_cluster = np.argsort(self.cluster_N, kind="stable")
        self._cluster_cdf_N = np.cumsum(self.p_noun_N[self._by_cluster])
        sizes = np.bincount(self.cluster_N, minlength=p["clusters"])
        self._cluster_end = np.cumsum(sizes)
        self._cluster_start = self._cluster_end - sizes
        self._noun_cdf_N = np.cumsum(self.p_noun_N)
        self._verb_cdf_V = np.cumsum(self.p_verb_V)
        self._adjective_cdf_A = np.cumsum(self.p_adjective_A)

    def cluster_mass(self) -> np.ndarray:
        """Probability of each noun group under the Zipf frequencies, float64 [clusters]."""
        return np.bincount(self.cluster_N, weights=self.p_noun_N, minlength=self.parameters["clusters"])

    def pick_nouns(self, u: np.ndarray) -> np.ndarray:
        """Nouns by frequency from uniform draws of any shape."""
        return _inverse(self._noun_cdf_N, u)

    def pick_other_nouns(self, first: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Nouns by frequency among all but `first` [n], from uniform draws [n]: the draw jumps over the first one's stretch of the line."""
        low = self._noun_cdf_N[first] - self.p_noun_N[first]
        x = u * (1.0 - self.p_noun_N[first])
        other = self.pick_nouns(np.where(x < low, x, x + self.p_noun_N[first]))
        return np.where(other == first, (first + 1) % len(self.p_noun_N), other)  # rounding at the edge of the stretch

    def pick_verbs(self, u: np.ndarray) -> np.ndarray:
        """Verbs by frequency from uniform draws of any shape."""
        return _inverse(self._verb_cdf_V, u)

    def pick_adjectives(self, u: np.ndarray) -> np.ndarray:
        """Adjectives by frequency from uniform draws of any shape."""
        return _inverse(self._adjective_cdf_A, u)

    def pick_preferred(self, cluster: np.ndarray, u_prefer: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Nouns of the preferred group with probability `preference`, else any noun; by frequency within either."""
        first, last = self._cluster_start[cluster], self._cluster_end[cluster] - 1
        low = np.where(first > 0, self._cluster_cdf_N[first - 1], 0.0)
        position = np.searchsorted(self._cluster_cdf_N, low + u * (self._cluster_cdf_N[last] - low), side="right")
        inside = self._by_cluster[np.clip(position, first, last)]
        return np.where(u_prefer < self.parameters["preference"], inside, self.pick_nouns(u))


def _zipf(n: int, exponent: float) -> np.ndarray:
    weights = np.arange(1, n + 1, dtype=np.float64) ** -exponent
    return weights / math.fsum(weights)  # correctly rounded: the order of the terms is not the same on every machine


def _inverse(cdf: np.ndarray, u: np.ndarray) -> np.ndarray:
    return np.minimum(np.searchsorted(cdf, u * cdf[-1], side="right"), len(cdf) - 1)


def _pick(rng: np.random.Generator, n: int, choices: int) -> np.ndarray:
    return np.minimum((rng.random(n) * choices).astype(np.int64), choices - 1)


def _make_language(name: str, p: dict) -> Language:
    rng = named_stream(p["seed"], "language", name)
    pool = []
    for nuclei in _NUCLEI[name]:
        some = [onset + nucleus for onset in _ONSETS for nucleus in nuclei]
        pool += [some[i] for i in shuffled(rng, len(some))]
    # Function words have syllables of their own: a token that starts a noun never also means "the".
    syllables, function_words = pool[: p["syllables"]], pool[p["syllables"]:]
    counts = [p["nouns"], p["verbs"], p["adjectives"]]
    has_synonym = [rng.random(count) < p["synonyms"] for count in counts]
    forms = iter(_spell(rng, syllables, sum(counts) + int(sum(h.sum() for h in has_synonym))))
    own = [np.array([next(forms) for _ in range(count)], dtype=object) for count in counts]
    kinds = []
    for words, has in zip(own, has_synonym):
        table = np.stack([words, words], axis=1)
        table[has, 1] = [next(forms) for _ in range(int(has.sum()))]
        kinds.append(Words(table, np.where(has, 0.25 + 0.25 * rng.random(len(words)), 0.0)))
    turn_V = 2 * p["turns"] * rng.random(p["verbs"])
    return Language(name, *kinds, articles=_articles(name, function_words), turn_V=turn_V, marker=function_words[-1])


def _spell(rng: np.random.Generator, syllables: list[str], n: int) -> list[str]:
    """`n` distinct words: of two syllables as far as they go, then of three, then of four."""
    words: list[str] = []
    length, size = 2, len(syllables)
    while len(words) < n:
        ranks = shuffled(rng, size**length) if length == 2 else _distinct(rng, size**length, n - len(words))
        for rank in ranks[: n - len(words)].tolist():
            parts = []
            for _ in range(length):
                rank, digit = divmod(rank, size)
                parts.append(syllables[digit])
            words.append("".join(parts))
        length += 1
    return words


def _distinct(rng: np.random.Generator, space: int, n: int) -> np.ndarray:
    """Up to `n` distinct numbers below `space`, in random order, without listing the whole space."""
    if space <= 4 * n:
        return shuffled(rng, space)
    drawn = (rng.random(3 * n) * space).astype(np.int64)
    _, first = np.unique(drawn, return_index=True)
    return drawn[np.sort(first)]


def _articles(name: str, words: list[str]) -> np.ndarray:
    table = np.empty((2, 2, 2, GENDERS), dtype=object)
    fresh = iter(words)
    if name == "a":
        for definite in range(2):
            for number in range(2):
                table[:, definite, number, :] = next(fresh)
        return table
    for case in range(2):
        for definite in range(2):
            for gender in range(GENDERS):
                table[case, definite, 0, gender] = next(fresh)
            table[case, definite, 1, :] = next(fresh)  # the plural shows no gender
    return table
