"""The synthetic world: the same everywhere, disjoint parts, one meaning a sentence, summaries that need the whole story."""

import hashlib

import numpy as np
import pytest

from runtime.data import world as worlds
from runtime.data.lexicon import DEFAULTS, World
from runtime.errors import DataError

SMALL = {"nouns": 40, "verbs": 12, "adjectives": 10, "syllables": 24, "clusters": 5, "seed": 3}


@pytest.fixture(scope="module")
def small():
    return World(SMALL)


@pytest.fixture(scope="module")
def full():
    return World({})


def sentences_of(text):
    return [part.rstrip(".") + "." for half in text.split(worlds.PARALLEL) for part in half.split(". ")]


def test_the_same_seed_gives_the_same_sentences_on_every_machine(full):
    sources, targets, _ = worlds.translations(full, "a-b", "train", 500)
    text = "\n".join(f"{s}\t{t}" for s, t in zip(sources, targets))
    assert hashlib.sha256(text.encode()).hexdigest() == "bca73e4606d027f2cef8b6815a488104a4bba525a602dd51ddb1328cb8642aec"


def test_another_seed_is_another_world(full):
    other = World({"seed": 1})
    assert worlds.translations(full, "a-b", "test", 20)[0] != worlds.translations(other, "a-b", "test", 20)[0]


def test_all_words_differ_and_the_languages_share_none(full):
    seen = []
    for language in full.languages.values():
        for words in (language.nouns, language.verbs, language.adjectives):
            seen += list(words.forms[:, 0]) + list(words.forms[words.second > 0, 1])
        seen += sorted(set(language.articles.ravel())) + [language.marker]
    assert len(seen) == len(set(seen))


def test_frequencies_are_zipf(full):
    p = full.p_noun_N
    assert p.sum() == pytest.approx(1) and p[0] / p[9] == pytest.approx(10) and len(p) == DEFAULTS["nouns"]
    drawn = full.pick_nouns(np.random.default_rng(0).random(200_000))
    assert np.bincount(drawn, minlength=3000)[:5] / 200_000 == pytest.approx(p[:5], rel=0.03)


def test_verbs_prefer_their_groups_of_nouns(full):
    clauses = worlds.draw_clauses(full, np.random.default_rng(0).random((100_000, 13)))
    inside = (full.cluster_N[clauses.object] == full.object_cluster_V[clauses.verb]).mean()
    by_chance = (full.cluster_mass()[full.object_cluster_V] * full.p_verb_V).sum()
    preference = full.parameters["preference"]
    assert inside == pytest.approx(preference + (1 - preference) * by_chance, abs=0.01)


def test_case_and_gender_stand_on_the_articles_of_b(full):
    articles = full.languages["b"].articles
    assert len(set(articles[:, :, 0].ravel())) == 2 * 2 * 3 and len(set(articles[:, :, 1].ravel())) == 2 * 2
    assert len(set(full.languages["a"].articles.ravel())) == 4


@pytest.mark.parametrize("make", [worlds.translations, worlds.summaries])
def test_parts_are_disjoint_and_longer_parts_begin_with_shorter_ones(small, make):
    parts = {part: make(small, "a-b", part, 300) for part in ("train", "dev", "test")}
    for direction in ("a-b", "b-a"):
        sources = [set(make(small, direction, part, 300)[0]) for part in parts]
        assert not (sources[0] & sources[1] or sources[0] & sources[2] or sources[1] & sources[2])
    longer = make(small, "a-b", "train", 700)
    assert longer[0][:300] == parts["train"][0] and longer[1][:300] == parts["train"][1]
    # distinct meanings even where synonyms and turns make different sentences of one meaning
    columns = np.stack(longer[2].columns() if make is worlds.translations else [np.arange(700)], axis=1)
    assert len(np.unique(columns, axis=0)) == 700


def test_a_sentence_shows_its_whole_meaning(small):
    rng = np.random.default_rng(1)
    clauses = worlds.draw_clauses(small, rng.random((40_000, 13)))
    for language in "ab":
        said = worlds.say(small, language, clauses, rng.random((40_000, 6)))
        meaning_of = {}
        for sentence, meaning in zip(said, np.stack(clauses.columns(), axis=1).tolist()):
            assert meaning_of.setdefault(sentence, meaning) == meaning


def test_the_directions_are_each_others_mirror(small):
    forth, back = worlds.translations(small, "a-b", "dev", 50), worlds.translations(small, "b-a", "dev", 50)
    assert forth[0] == back[1] and forth[1] == back[0]


def test_word_order_differs(small):
    clauses = worlds.draw_clauses(small, np.random.default_rng(0).random((50, 13)))
    unturned = np.full((50, 6), 0.999)
    verb = {name: language.verbs.forms[clauses.verb, 0] for name, language in small.languages.items()}
    for a, b, verb_a, verb_b in zip(*(worlds.say(small, n, clauses, unturned) for n in "ab"), verb["a"], verb["b"]):
        assert b.endswith(f" {verb_b}.") and 2 <= a.rstrip(".").split().index(verb_a) <= 3


def test_pretraining_text_shares_no_sentence_with_the_tasks(small):
    rows = worlds.pretraining_text(small, 4000, 0.1)
    written = {sentence for text, _ in rows for sentence in sentences_of(text)}
    for part in ("train", "dev", "test"):
        sources, targets, _ = worlds.translations(small, "a-b", part, 500)
        assert not written & (set(sources) | set(targets))


def test_pretraining_text_holds_what_was_asked_for(full):
    rows = worlds.pretraining_text(full, 10_000, 0.03)
    count = {}
    for text, language in rows:
        assert (worlds.PARALLEL in text) == ("-" in language)
        count[language] = count.get(language, 0) + len(sentences_of(text))
    assert sum(count.values()) == 10_000
    assert count["a-b"] + count["b-a"] == 300 and count["a-b"] == count["b-a"] and count["a"] == count["b"]
    assert [language for _, language in rows[:200]] != sorted(language for _, language in rows[:200])


def test_summaries_follow_from_the_whole_story_alone():
    world = World({"synonyms": 0.0, "turns": 0.0})
    stories, gists, _ = worlds.summaries(world, "a-b", "train", 400)
    easy = 0
    for story, gist in zip(stories, gists):
        acts = [sentence.rstrip(".").split() for sentence in sentences_of(story)]  # article noun verb article noun
        agents = [words[1] for words in acts]
        most = max(set(agents), key=agents.count)
        own = [words for words in acts if words[1] == most]
        assert gist.rstrip(".").split() == [*own[0][:3], *own[-1][3:]]
        easy += gist in (sentences_of(story)[0], sentences_of(story)[-1])
    assert {len(set(agents)), len(acts) % 2} == {2, 1}
    assert easy < 0.05 * len(stories)


def test_a_world_too_small_says_how_much_it_has():
    tiny = World({"nouns": 2, "verbs": 1, "adjectives": 1, "syllables": 8})
    with pytest.raises(DataError, match=r"dev part holds about \d+ distinct examples .* 5000 are asked for"):
        worlds.translations(tiny, "a-b", "dev", 5000)


@pytest.mark.parametrize("bad, words", [
    ({"nuons": 3}, "'nuons'; known are seed, nouns"), ({"nouns": 1}, "nouns is 1; it must be a whole number from 2"),
    ({"zipf": "1"}, "zipf is '1'"), ({"verbs": 2.5}, "verbs is 2.5"), ({"syllables": True}, "syllables is True"),
])
def test_bad_parameters_are_named(bad, words):
    with pytest.raises(DataError, match=words):
        World(bad)


def test_unknown_directions_and_parts_are_named(small):
    with pytest.raises(DataError, match="direction 'a-c' is unknown; accepted: a-b or b-a"):
        worlds.translations(small, "a-c", "train", 5)
    with pytest.raises(DataError, match="part 'valid' is unknown"):
        worlds.summaries(small, "a-b", "valid", 5)
