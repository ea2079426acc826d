"""YAML 1.2: what is a number is read as that number, what is text stays text, and hostile input ends in a problem."""

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.validate import number_with_suffix
from compiler.yaml_reader import YamlError, decode, read, resolve_scalar


def parse(text):
    root, problems = read(decode(text.encode("utf-8"), "x.yaml"))
    return root.plain_value(), problems


@pytest.mark.parametrize("text,value", [
    ("1e-4", 1e-4), ("3e18", 3e18), ("4.5e7", 4.5e7), ("1.0e-2", 0.01), (".5", 0.5), ("-1.", -1.0), ("+7", 7), ("010", 10), ("0o17", 15), ("0x1F", 31),
    ("12:30", "12:30"), ("no", "no"), ("on", "on"), ("yes", "yes"), ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
    ("1_000", "1_000"), ("2M", "2M"), ("1B", "1B"), ("1e", "1e"), ("e5", "e5"), ("2024-01-01", "2024-01-01"), ("=", "="), ("<<", "<<"),
])  # fmt: skip
def test_the_core_schema(text, value):
    found = resolve_scalar(text)
    assert found == value and type(found) is type(value)
    assert parse(f"a: {text}\n")[0]["a"] == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_read_back(value):
    for text in (repr(value), f"{value:.17e}"):
        found = resolve_scalar(text)
        assert type(found) is float and found == value
    assert parse(f"a: [{value!r}]")[0] == {"a": [value]}


@given(st.integers(-10**30, 10**30))
def test_every_integer_is_read_back(value):
    assert resolve_scalar(str(value)) == value and resolve_scalar(f"{value:+d}") == value


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc")), max_size=20))
def test_quoted_text_stays_text(text):
    import json

    assert parse(f"a: {json.dumps(text, ensure_ascii=False)}")[0] == {"a": text}


@given(st.integers(1, 10**6), st.sampled_from("KMBT"))
def test_suffixes_are_powers_of_ten(number, suffix):
    power = {"K": 3, "M": 6, "B": 9, "T": 12}[suffix]
    assert number_with_suffix(f"{number}{suffix}") == number * 10**power
    tenths = number_with_suffix(f"{number / 10}{suffix}")
    assert tenths == number * 10 ** (power - 1) and type(tenths) is int


def test_what_is_no_number_with_a_suffix():
    assert [number_with_suffix(text) for text in ("1k", "M", "1 M", "-1M", "1e3M", "1MB", "")] == [None] * 7


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(alphabet=" \t\n-:[]{},&*!|>'\"#%@`abc1é", max_size=60).map(lambda text: text.encode())))
def test_any_bytes_end_in_a_tree_or_in_problems(data):
    try:
        root, problems = read(decode(data, "x.yaml"))
        root.plain_value()
    except YamlError as error:
        problems = error.problems
        assert problems
    for problem in problems:
        assert problem.line >= 1 and problem.column >= 1 and problem.render()


BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9))


@pytest.mark.parametrize("data,id", [
    (b"a: 1\n---\nb: 2\n", "SECOND_DOCUMENT"), (b"a:\n\tb: 1\n", "TAB"), (b"a: " + b"[" * 200_000, "TOO_DEEP"), (b"a: &a [*a]", "ENDLESS_ALIAS"),
    (b"a: *b", "UNKNOWN_ALIAS"), (BOMB.encode(), "TOO_MANY_NODES"), (b"\xef\xbb\xbfa: 1", "BYTE_ORDER_MARK"), (b"\xff\xfea", "BYTE_ORDER_MARK"),
    (b"a: \xe4", "NOT_UTF8"), (b"a: 1\nb: \x00", "YAML_SYNTAX"), (b"a: {", "YAML_SYNTAX"), (b"", "EMPTY"), (b"#" * (1 << 20) + b"#", "TOO_LARGE"),
])  # fmt: skip
def test_hostile_input_is_refused_quickly(data, id):
    start = time.process_time()
    with pytest.raises(YamlError) as caught:
        read(decode(data, "x.yaml"))
    assert [problem.id for problem in caught.value.problems] == [id]
    assert time.process_time() - start < 2


def test_bytes_that_are_not_utf8_are_named_with_their_place():
    with pytest.raises(YamlError) as caught:
        decode("a: 1\nbü: ".encode() + b"\xff", "x.yaml")
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (2, 5)


def test_duplicate_keys_tags_and_keys_that_are_no_text():
    value, problems = parse("a: 1\nb: {c: 1, c: 2}\na: 3\n1: x\ntrue: y\nd: !x 3\ne: !!str 7\nf: !!set {}\n")
    assert value["a"] == 1 and value["b"] == {"c": 1} and value["e"] == "7" and value["d"] == 3
    assert [(problem.id, problem.line, problem.column) for problem in sorted(problems, key=lambda p: p.line)] == [
        ("DUPLICATE_KEY", 2, 11), ("DUPLICATE_KEY", 3, 1), ("KEY_NOT_TEXT", 4, 1), ("KEY_NOT_TEXT", 5, 1), ("UNKNOWN_TAG", 6, 4), ("UNKNOWN_TAG", 8, 4),
    ]


def test_anchors_work_within_reason():
    assert parse("a: &x {p: 1}\nb: *x\nc: [*x, *x]\n")[0] == {"a": {"p": 1}, "b": {"p": 1}, "c": [{"p": 1}, {"p": 1}]}


def test_infinities_are_read_and_left_to_the_schema_to_refuse():
    assert parse("a: [.inf, -.inf]")[0] == {"a": [math.inf, -math.inf]}
