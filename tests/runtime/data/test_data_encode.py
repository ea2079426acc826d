"""Examples to tokens: the template apart from the target, long texts cut, dropped or refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import tokenizers
from runtime.data import encode
from runtime.data.encode import fill_template
from runtime.errors import DataError


class Characters(tokenizers.Tokenizer):
    """One id a character, so that what should come out can be written down."""

    vocabulary, pad, bos, eos = 128, 0, 2, 3

    def encode(self, texts):
        return [[ord(c) for c in text] for text in texts]

    def decode(self, rows):
        return ["".join(chr(i) for i in row if i > 3) for row in rows]


def row(source, *targets, language=None):
    return {"source": source, "targets": list(targets), "language": language, "origin": 0}


def task(template="{source} =>", source=100, target=100, too_long="cut_source"):
    return {"kind": "translation", "template": template, "lengths": {"source": source, "target": target, "too_long": too_long}}


def shown(encoded, i):
    return "".join({2: "<", 3: ">"}.get(t, chr(t)) for t in encoded.ids[encoded.offsets[i] : encoded.offsets[i + 1]])


def test_an_example_is_bos_template_target_eos():
    encoded, counts = encode([row("ab", "xyz", "other"), row("c", "w")], Characters(), task())
    assert [shown(encoded, 0), shown(encoded, 1)] == ["<ab =>xyz>", "<c =>w>"]
    assert encoded.target_start.tolist() == [6, 5] and encoded.target_tokens().tolist() == [4, 2]
    assert encoded.prompt(0) == [2, *map(ord, "ab =>")]
    assert encoded.ids.dtype == np.int32 and encoded.rows.tolist() == [0, 1] and len(encoded) == 2
    assert counts == {"cut": 0, "cut_target": 0, "dropped": 0}


def test_templates_know_source_and_language_only():
    assert fill_template("{a} {source}{language}{{}}", "{language}", "de") == "{a} {language}de{{}}"
    encoded, _ = encode([row("ab", "x", language="de")], Characters(), task("to {language}: {source}\n"))
    assert shown(encoded, 0) == "<to de: ab\nx>"
    with pytest.raises(DataError, match="example 1 has none; give its data source a `language`"):
        encode([row("ab", "x")], Characters(), task("{language} {source}"))
    with pytest.raises(DataError, match="{source} must stand in it once"):
        encode([row("ab", "x")], Characters(), task("nothing"))


def test_cutting_takes_the_sources_end_and_leaves_the_template_whole():
    rows = [row("abcdefghij", "xyz"), row("abc", "uvwxyz"), row("ab", "x")]
    encoded, counts = encode(rows, Characters(), task("Q {source} =>", source=9, target=4))
    assert [shown(encoded, i) for i in range(3)] == ["<Q abcd =>xyz>", "<Q abc =>uvwx>", "<Q ab =>x>"]
    assert counts == {"cut": 1, "cut_target": 1, "dropped": 0}
    with pytest.raises(DataError, match="lengths.source is 5, but the template .* alone takes 5 tokens"):
        encode(rows, Characters(), task("Q {source} =>", source=5))


def test_dropping_keeps_the_places_of_the_others():
    rows = [row("abcdefghij", "xyz"), row("abc", "x"), row("ab", "uvwxyz"), row("a", "y")]
    encoded, counts = encode(rows, Characters(), task(source=7, target=4, too_long="drop"))
    assert encoded.rows.tolist() == [1, 3] and counts == {"cut": 0, "cut_target": 0, "dropped": 2}
    assert shown(encoded, 1) == "<a =>y>"
    with pytest.raises(DataError, match="all 4 examples are longer"):
        encode(rows, Characters(), task(source=1, too_long="drop"))


def test_too_long_can_be_an_error_that_names_the_example():
    rows = [row("ab", "x"), row("abcdefghij", "xyz")]
    with pytest.raises(DataError, match=r"example 2 has a source of 13 tokens, lengths.source allows 12 \('abcdefghij'\)"):
        encode(rows, Characters(), task(source=12, too_long="error"))
    with pytest.raises(DataError, match="example 2 has a target of 3 tokens, lengths.target allows 2"):
        encode(rows, Characters(), task(target=2, too_long="error"))
    with pytest.raises(DataError, match="too_long is 'cut'; accepted: cut_source, drop, error"):
        encode(rows, Characters(), task(too_long="cut"))


letters = st.text("abcdefg ", max_size=12)


@given(st.lists(st.tuples(letters, letters), min_size=1, max_size=8))
def test_every_example_is_found_again_in_the_flat_array(pairs):
    encoded, _ = encode([row(s, t) for s, t in pairs], Characters(), task())
    assert len(encoded.ids) == encoded.offsets[-1] == encoded.lengths().sum()
    for i, (source, target) in enumerate(pairs):
        assert shown(encoded, i) == f"<{source} =>{target}>"
        assert encoded.target_tokens()[i] == len(target) + 1 and encoded.target_start[i] == len(source) + 4
