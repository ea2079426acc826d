"""Sentences, stories and texts of a synthetic bilingual world: what is meant, and how either language says it.

Legend: n rows, K clauses of a story. A clause is who (subject), does what (verb), to whom (object); a noun phrase has a form
(2 * plural + definite) and perhaps an adjective (-1: none).

Which part of the data a meaning belongs to (pretraining, train, dev, test) is decided by a hash of the meaning itself. The parts are
therefore disjoint in both languages at once, a longer part begins with the shorter one, and no part need know of another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from runtime.data.lexicon import ACCUSATIVE, NOMINATIVE, Language, World, named_stream
from runtime.errors import DataError

# Buckets of a hundred: the share of all meanings that each part may use.
PARTS = {"pretraining": (0, 50), "train": (50, 90), "dev": (90, 95), "test": (95, 100)}
DIRECTIONS = ("a-b", "b-a")
PARALLEL = " => "  # how parallel text is written in pretraining text

_BLOCK = 16_384
_CLAUSE_DRAWS = 13   # uniform draws that decide a clause
_WORDING_DRAWS = 6   # uniform draws that decide its wording in one language
_PLURAL = 0.3
_STORY_CLAUSES = 5   # the longest story; the others have 3


@dataclass(frozen=True)
class Clauses:
    """Meanings of n clauses, int64 [n] each (or [n, K] for stories)."""

    verb: np.ndarray
    subject: np.ndarray
    subject_form: np.ndarray
    subject_adjective: np.ndarray
    object: np.ndarray
    object_form: np.ndarray
    object_adjective: np.ndarray

    def __getitem__(self, index) -> Clauses:
        return Clauses(*(getattr(self, f.name)[index] for f in fields(self)))

    def columns(self) -> list[np.ndarray]:
        return [getattr(self, f.name) for f in fields(self)]


@dataclass(frozen=True)
class Stories:
    """n stories: clauses [n, K], how many of them count [n], and what each one's summary says (clauses [n])."""

    clauses: Clauses
    length: np.ndarray
    gist: Clauses

    def __getitem__(self, index) -> Stories:
        return Stories(self.clauses[index], self.length[index], self.gist[index])


def draw_clauses(world: World, u: np.ndarray) -> Clauses:
    """Clauses from uniform draws [n, 13]."""
    verb = world.pick_verbs(u[:, 0])
    subject = world.pick_preferred(world.subject_cluster_V[verb], u[:, 1], u[:, 2])
    patient = world.pick_preferred(world.object_cluster_V[verb], u[:, 3], u[:, 4])
    share = world.parameters["adjective_share"]
    return Clauses(
        verb,
        subject, _form(u[:, 5], u[:, 6]), np.where(u[:, 7] < share, world.pick_adjectives(u[:, 8]), -1),
        patient, _form(u[:, 9], u[:, 10]), np.where(u[:, 11] < share, world.pick_adjectives(u[:, 12]), -1),
    )


def draw_stories(world: World, rng: np.random.Generator, n: int) -> Stories:
    """Stories of two agents; one of them acts more often. The summary: who acts most, the first thing it does, to the last it acts on.

    No sentence of a story tells this alone: who acts most needs all of them, and so do "first" and "last".
    """
    size = _STORY_CLAUSES
    u_agents, u_clauses, u_who = rng.random((n, 6)), rng.random((n, size, 6)), rng.random((n, size + 1))
    first = world.pick_nouns(u_agents[:, 0])
    second = world.pick_other_nouns(first, u_agents[:, 1])
    agents = np.stack([first, second], axis=1)
    forms = np.stack([_form(u_agents[:, 2], u_agents[:, 3]), _form(u_agents[:, 4], u_agents[:, 5])], axis=1)

    length = np.where(u_who[:, size] < 0.5, 3, size)
    inside = np.arange(size) < length[:, None]
    who = (u_who[:, :size] < 0.5).astype(np.int64)
    said = (who * inside).sum(1)
    lonely = (said == 0) | (said == length)
    who[lonely, 1] = 1 - who[lonely, 1]  # both agents act
    verb = world.pick_verbs(u_clauses[..., 0])
    patient = world.pick_preferred(world.object_cluster_V[verb], u_clauses[..., 1], u_clauses[..., 2])
    row, none = np.arange(n), np.full((n, size), -1)
    clauses = Clauses(verb, agents[row[:, None], who], forms[row[:, None], who], none,
                      patient, _form(u_clauses[..., 3], u_clauses[..., 4]), none)

    most = ((who * inside).sum(1) * 2 > length).astype(np.int64)
    acts = (who == most[:, None]) & inside
    begin = acts.argmax(1)
    end = size - 1 - acts[:, ::-1].argmax(1)
    gist = Clauses(verb[row, begin], agents[row, most], forms[row, most], none[:, 0],
                   patient[row, end], clauses.object_form[row, end], none[:, 0])
    return Stories(clauses, length, gist)


def say(world: World, language: str, clauses: Clauses, u: np.ndarray) -> np.ndarray:
    """Sentences that say `clauses` [n] in `language`, with the free choices taken by the uniform draws [n, 6]; object array [n]."""
    tongue = world.languages[language]
    turned = u[:, 0] < tongue.turn_V[clauses.verb]
    verb = _word(tongue.verbs, clauses.verb, u[:, 1])
    subject = _phrase(world, tongue, NOMINATIVE, clauses.subject, clauses.subject_form, clauses.subject_adjective, u[:, 2:4])
    patient = _phrase(world, tongue, ACCUSATIVE, clauses.object, clauses.object_form, clauses.object_adjective, u[:, 4:6])
    first, second = np.where(turned, patient, subject), np.where(turned, subject, patient)
    if language == "a":
        return first + (" " + verb + np.where(turned, f" {tongue.marker} ", " ").astype(object)) + second + "."
    return first + " " + second + " " + verb + "."


def translations(world: World, direction: str, part: str, n: int) -> tuple[list[str], list[str], Clauses]:
    """The first `n` distinct sentence pairs of a part: sources, targets, meanings. Raises DataError if the world is too small."""
    _check(direction, part)

    def block(rng: np.random.Generator):
        clauses = draw_clauses(world, rng.random((_BLOCK, _CLAUSE_DRAWS)))
        return clauses, fingerprint(world.seed, clauses.columns()), rng.random((_BLOCK, 2 * _WORDING_DRAWS))

    clauses, u = _distinct_rows(world, "translation", part, n, block)
    texts = {"a": say(world, "a", clauses, u[:, :_WORDING_DRAWS]), "b": say(world, "b", clauses, u[:, _WORDING_DRAWS:])}
    source, target = direction.split("-")
    return texts[source].tolist(), texts[target].tolist(), clauses


def summaries(world: World, direction: str, part: str, n: int) -> tuple[list[str], list[str], Clauses]:
    """The first `n` distinct stories of a part with their summaries, in the direction's first language, and the summaries' meanings."""
    _check(direction, part)
    language = direction[0]
    draws = _WORDING_DRAWS * (_STORY_CLAUSES + 1)

    def block(rng: np.random.Generator):
        stories = draw_stories(world, rng, _BLOCK)
        inside = np.arange(_STORY_CLAUSES) < stories.length[:, None]
        columns = [np.where(inside, c, -2)[:, k] for c in stories.clauses.columns() for k in range(_STORY_CLAUSES)]
        return stories, fingerprint(world.seed, columns), rng.random((_BLOCK, draws))

    stories, u = _distinct_rows(world, "summarization", part, n, block)
    text = np.full(n, "", dtype=object)
    for k in range(_STORY_CLAUSES):
        said = say(world, language, stories.clauses[:, k], u[:, k * _WORDING_DRAWS : (k + 1) * _WORDING_DRAWS])
        text = np.where(k < stories.length, text + (" " if k else "") + said, text)
    return text.tolist(), say(world, language, stories.gist, u[:, -_WORDING_DRAWS:]).tolist(), stories.gist


def pretraining_text(world: World, sentences: int, parallel_share: float) -> list[tuple[str, str]]:
    """Rows (text, language) that hold `sentences` sentences: paragraphs of 1 to 3 sentences of one language, half of them each, and
    `parallel_share` of the sentences in rows that give one meaning in both (language "a-b" or "b-a"). The rows come shuffled.

    No meaning here is a row of the train, dev or test parts.
    """
    if sentences < 2 or not 0.0 <= parallel_share <= 1.0:
        raise DataError(f"synthetic text: {sentences} sentences with a parallel share of {parallel_share}; "
                        "at least 2 sentences and a share from 0 to 1 are needed")
    pairs = int(round(parallel_share * sentences / 2))
    mono = sentences - 2 * pairs
    needed = pairs + mono
    kept: list[tuple[Clauses, np.ndarray]] = []
    have, number = 0, 0
    while have < needed:
        rng = named_stream(world.seed, "text", "pretraining", number)
        clauses = draw_clauses(world, rng.random((_BLOCK, _CLAUSE_DRAWS)))
        mine = np.flatnonzero(_in_part(fingerprint(world.seed, clauses.columns()), "pretraining"))
        kept.append((clauses[mine], rng.random((_BLOCK, 2 * _WORDING_DRAWS))[mine]))
        have, number = have + len(mine), number + 1
        if number == 64 and have == 0:
            raise DataError("synthetic text: this world has no sentence for pretraining; give it more nouns and verbs")
    clauses = Clauses(*(np.concatenate([getattr(c, f.name) for c, _ in kept])[:needed] for f in fields(Clauses)))
    u = np.concatenate([draws for _, draws in kept])[:needed]

    rng = named_stream(world.seed, "text", "rows", sentences, parallel_share)
    rows: list[tuple[str, str]] = []
    said_a = say(world, "a", clauses[:pairs], u[:pairs, :_WORDING_DRAWS]).tolist()
    said_b = say(world, "b", clauses[:pairs], u[:pairs, _WORDING_DRAWS:]).tolist()
    for number, (a, b) in enumerate(zip(said_a, said_b)):
        rows.append((a + PARALLEL + b, "a-b") if number % 2 else (b + PARALLEL + a, "b-a"))
    half = pairs + mono // 2
    for language, first, last in (("a", pairs, half), ("b", half, needed)):
        said = say(world, language, clauses[first:last], u[first:last, :_WORDING_DRAWS]).tolist()
        lengths = 1 + np.minimum((rng.random(len(said)) * 3).astype(np.int64), 2)
        ends = np.minimum(np.cumsum(lengths), len(said))
        ends = ends[: int(np.searchsorted(ends, len(said))) + 1].tolist()
        rows += [(" ".join(said[i:j]), language) for i, j in zip([0, *ends[:-1]], ends)]
    order = np.argsort(rng.random(len(rows)), kind="stable")
    return [rows[i] for i in order]


def fingerprint(seed: int, columns: list[np.ndarray]) -> np.ndarray:
    """A 64-bit hash of each row of the integer columns [n], uint64 [n] (splitmix64, folded)."""
    h = np.full(len(columns[0]), (seed * 0x9E3779B97F4A7C15 + 1) % 2**64, dtype=np.uint64)
    for column in columns:
        h = h ^ (column.astype(np.int64).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
        h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        h = h ^ (h >> np.uint64(31))
    return h


def _in_part(marks: np.ndarray, part: str) -> np.ndarray:
    low, high = PARTS[part]
    bucket = marks % np.uint64(100)
    return (bucket >= low) & (bucket < high)


def _distinct_rows(world: World, task: str, part: str, n: int, block: Callable):
    """The first `n` distinct meanings of a part and their wording draws [n, ..], block by block from streams of their own."""
    seen = np.empty(0, np.uint64)
    meanings, draws, idle, number = [], [], 0, 0
    have = 0
    while have < n:
        meaning, marks, u = block(named_stream(world.seed, task, part, number))
        _, first = np.unique(marks, return_index=True)
        first = np.sort(first)
        new = first[_in_part(marks[first], part) & ~np.isin(marks[first], seen)]
        seen = np.concatenate([seen, marks[new]])
        meanings.append(meaning[new])
        draws.append(u[new])
        have, number = have + len(new), number + 1
        idle = idle + 1 if len(new) < 2 else 0  # an exhausted world gives a straggler now and then
        if idle == 16 and have < n:
            raise DataError(f"synthetic world: its {part} part holds about {have} distinct examples of {task}, {n} are asked for; "
                            "give the world more nouns, verbs or adjectives, or ask for fewer examples")
    return _join(meanings, n), np.concatenate(draws)[:n]


def _join(parts: list, n: int):
    if isinstance(parts[0], Stories):
        return Stories(_join([p.clauses for p in parts], n), np.concatenate([p.length for p in parts])[:n],
                       _join([p.gist for p in parts], n))
    return Clauses(*(np.concatenate([getattr(p, f.name) for p in parts])[:n] for f in fields(Clauses)))


def _check(direction: str, part: str) -> None:
    if direction not in DIRECTIONS:
        raise DataError(f"synthetic data: direction {direction!r} is unknown; accepted: {' or '.join(DIRECTIONS)}")
    if part not in PARTS:
        raise DataError(f"synthetic data: part {part!r} is unknown; accepted: {', '.join(PARTS)}")


def _form(u_plural: np.ndarray, u_definite: np.ndarray) -> np.ndarray:
    return 2 * (u_plural < _PLURAL).astype(np.int64) + (u_definite < 0.5)


def _word(words, which: np.ndarray, u: np.ndarray) -> np.ndarray:
    return words.forms[which, (u < words.second[which]).astype(np.int64)]


def _phrase(world: World, tongue: Language, case: int, noun, form, adjective, u: np.ndarray) -> np.ndarray:
    article = tongue.articles[case, form % 2, form // 2, world.gender_N[noun]]
    noun = _word(tongue.nouns, noun, u[:, 0])
    described = np.flatnonzero(adjective >= 0)
    extra = _word(tongue.adjectives, adjective[described], u[described, 1])
    if tongue.name == "a":
        article[described] = article[described] + (" " + extra)
        return article + (" " + noun)
    noun[described] = noun[described] + (" " + extra)
    return article + (" " + noun)
