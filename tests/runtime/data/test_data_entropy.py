"""The world's exact entropy against enumeration of every wording and meaning, and against what is seen in samples."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from runtime.data import entropy, nats_per_token
from runtime.data import world as worlds
from runtime.data.lexicon import World

TINY = {"nouns": 5, "verbs": 3, "adjectives": 2, "syllables": 12, "clusters": 2, "synonyms": 0.7, "seed": 5}


@pytest.fixture(scope="module")
def tiny():
    return World(TINY)


def wordings(world, language, clause):
    """Every sentence that says the clause (a Clauses of one row), with its probability: all choices tried one by one."""
    tongue = world.languages[language]
    chances = [tongue.turn_V[clause.verb[0]], tongue.verbs.second[clause.verb[0]]]
    for noun, adjective in ((clause.subject[0], clause.subject_adjective[0]), (clause.object[0], clause.object_adjective[0])):
        chances += [tongue.nouns.second[noun], tongue.adjectives.second[adjective] if adjective >= 0 else 0.0]
    found = Counter()
    for taken in product([True, False], repeat=6):
        chance = np.prod([p if yes else 1 - p for p, yes in zip(chances, taken)])
        if chance > 0:
            draws = np.array([[0.0 if yes else np.nextafter(1, 0) for yes in taken]])
            found[worlds.say(world, language, clause, draws)[0]] += chance
    return found


def entropy_of(chances):
    p = np.array([c for c in chances if c > 0])
    return float(-(p * np.log(p)).sum())


@pytest.mark.parametrize("language", ["a", "b"])
def test_clause_entropy_is_that_of_the_enumerated_wordings(tiny, language):
    clauses = worlds.draw_clauses(tiny, np.random.default_rng(0).random((60, 13)))
    exact = entropy.clause_entropy(tiny, language, clauses)
    words = entropy.clause_words(tiny, language, clauses)
    assert exact.max() > 1.5
    for i in range(60):
        found = wordings(tiny, language, clauses[i : i + 1])
        assert sum(found.values()) == pytest.approx(1)
        assert exact[i] == pytest.approx(entropy_of(found.values()), abs=1e-12)
        assert words[i] == pytest.approx(sum(p * len(text.split()) for text, p in found.items()))


def all_meanings(world):
    """Every clause of a tiny world with its probability (forms left at one: they decide no wording's chance)."""
    p = world.parameters
    mass = [sum(world.p_noun_N[world.cluster_N == c]) for c in range(p["clusters"])]

    def noun(n, cluster):
        inside = world.p_noun_N[n] / mass[cluster] if world.cluster_N[n] == cluster else 0.0
        return p["preference"] * inside + (1 - p["preference"]) * world.p_noun_N[n]

    adjectives = [(-1, 1 - p["adjective_share"])] + [(a, p["adjective_share"] * world.p_adjective_A[a]) for a in range(p["adjectives"])]
    rows, chances = [], []
    for v, s, o in product(range(p["verbs"]), range(p["nouns"]), range(p["nouns"])):
        base = world.p_verb_V[v] * noun(s, world.subject_cluster_V[v]) * noun(o, world.object_cluster_V[v])
        for (x, px), (y, py) in product(adjectives, adjectives):
            rows.append((v, s, 0, x, o, 0, y))
            chances.append(base * px * py)
    return worlds.Clauses(*np.array(rows).T), np.array(chances)


@pytest.mark.parametrize("direction", ["a-b", "b-a"])
def test_expected_entropy_is_the_sum_over_every_meaning(tiny, direction):
    clauses, chances = all_meanings(tiny)
    assert chances.sum() == pytest.approx(1)
    expected = entropy.expected_entropy(tiny, "translation", direction)
    assert expected["nats_per_target"] == pytest.approx(chances @ entropy.clause_entropy(tiny, direction[2], clauses))
    assert expected["words_per_target"] == pytest.approx(chances @ entropy.clause_words(tiny, direction[2], clauses))


def test_sampled_wordings_have_the_exact_entropy(tiny):
    rng = np.random.default_rng(2)
    clause = worlds.draw_clauses(tiny, rng.random((1, 13)))
    many = clause[np.zeros(100_000, int)]
    for language in "ab":
        seen = Counter(worlds.say(tiny, language, many, rng.random((100_000, 6))))
        estimate = entropy_of([n / 100_000 for n in seen.values()])
        assert estimate == pytest.approx(entropy.clause_entropy(tiny, language, clause)[0], abs=0.01)


def draw_gists(world, rng, n):
    return worlds.draw_stories(world, rng, n).gist


def draw_meanings(world, rng, n):
    return worlds.draw_clauses(world, rng.random((n, 13)))


@pytest.mark.parametrize("parameters", [TINY, {}])
@pytest.mark.parametrize("task, direction, language, draw", [
    ("translation", "a-b", "b", draw_meanings), ("translation", "b-a", "a", draw_meanings),
    ("summarization", "a-b", "a", draw_gists), ("summarization", "b-a", "b", draw_gists),
])
def test_expected_entropy_is_the_mean_over_drawn_meanings(parameters, task, direction, language, draw):
    world = World(parameters)
    drawn = entropy.clause_entropy(world, language, draw(world, np.random.default_rng(7), 60_000))
    expected = entropy.expected_entropy(world, task, direction)["nats_per_target"]
    assert abs(drawn.mean() - expected) < 4.5 * drawn.std() / np.sqrt(len(drawn))
    assert expected > 0.5


def test_the_rows_of_a_part_have_an_entropy_near_the_worlds():
    world = World({})
    *_, meanings = worlds.translations(world, "a-b", "train", 4000)
    rows, expected = entropy.rows_entropy(world, "translation", "a-b", meanings), entropy.expected_entropy(world, "translation", "a-b")
    assert rows["nats_per_target"] == pytest.approx(expected["nats_per_target"], rel=0.03)
    assert rows["nats_per_target"] != expected["nats_per_target"]


def test_without_choices_there_is_no_entropy():
    world = World({**TINY, "synonyms": 0.0, "turns": 0.0})
    assert entropy.expected_entropy(world, "translation", "a-b")["nats_per_target"] == 0.0


def test_nats_per_token():
    assert nats_per_token({"nats_per_target": 3.0}, 12.0) == 0.25
