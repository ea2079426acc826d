"""Reading files: every format, plain and gzipped, odd content kept, and malformed rows named by file and row."""

import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.data.files import digest_of, find_file, open_verified, read_pairs, read_texts
from runtime.errors import DataError, RuntimeInputError

ODD = 'He said "no", then\u2028left\u2029\x85\x0b\x0c\x1c; \u00e4\u6f22 \U0001f600, \'x\' \\t'


def write(path, content):
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_tsv_has_no_quoting_and_only_line_feeds_end_rows(tmp_path, name):
    path = write(tmp_path / name, f'"open\t{ODD}\r\n\r\n  \nx\t"y"\n')
    assert read_pairs(path, "tsv", 0, 1) == (['"open', "x"], [[ODD], ['"y"']])


def test_tsv_columns_by_name_need_a_header(tmp_path):
    path = write(tmp_path / "a.tsv", "\ufeffen\tde\nyes\tja\n")
    assert read_pairs(path, "tsv", "en", "de", header=True) == (["yes"], [["ja"]])
    assert read_pairs(path, "tsv", 1, 0) == (["de", "ja"], [["en"], ["yes"]])
    with pytest.raises(DataError, match="column 'en' is a name.*set `header: true`"):
        read_pairs(path, "tsv", "en", "de")
    with pytest.raises(DataError, match="no column 'fr'; its header has en, de"):
        read_pairs(path, "tsv", "en", "fr", header=True)
    with pytest.raises(DataError, match=r"row 1: no column 2; the row has 2 column"):
        read_pairs(path, "tsv", 0, 2)


def test_csv_is_rfc_4180(tmp_path):
    path = write(tmp_path / "a.csv", f'en,de\r\n"a, ""b""\nc","{ODD.replace(chr(34), chr(34) * 2)}"\r\n')
    assert read_pairs(path, "csv", "en", "de", header=True) == (['a, "b"\nc'], [[ODD]])
    with pytest.raises(DataError, match="bad.csv, row 2: not CSV"):
        read_pairs(write(tmp_path / "bad.csv", 'a,b\n"a"x,b\n'), "csv", 0, 1)


def test_jsonl_fields_nested_and_listed(tmp_path):
    rows = [{"t": {"en": ODD, "de": "ja"}, "refs": ["r1", "r2"]}]
    path = write(tmp_path / "a.jsonl.gz", "".join(json.dumps(row, ensure_ascii=False) + "\r\n\n" for row in rows))
    assert read_pairs(path, "jsonl", "t.en", "t.de") == ([ODD], [["ja"]])
    assert read_pairs(path, "jsonl", "t.en", "refs") == ([ODD], [["r1", "r2"]])
    assert read_pairs(path, "jsonl", "t.en", ["t.de", "refs"]) == ([ODD], [["ja", "r1", "r2"]])


@pytest.mark.parametrize("name", ["a.parquet", "a.parquet.gz"])
def test_parquet_by_name_number_struct_and_list(tmp_path, name):
    table = pyarrow.table({"s": ["x", ODD], "t": [{"de": "ja"}, {"de": "nein"}], "refs": [["1", "2"], ["3"]]})
    pyarrow.parquet.write_table(table, tmp_path / "plain")
    path = write(tmp_path / name, (tmp_path / "plain").read_bytes())
    assert read_pairs(path, "parquet", "s", "t.de") == (["x", ODD], [["ja"], ["nein"]])
    assert read_pairs(path, "parquet", 0, "refs") == (["x", ODD], [["1", "2"], ["3"]])
    with pytest.raises(DataError, match="no column 'u'; it has s, t, refs"):
        read_pairs(path, "parquet", "u", "s")
    with pytest.raises(DataError, match="not a Parquet file"):
        read_pairs(write(tmp_path / "b.parquet", "text"), "parquet", 0, 1)


def test_several_reference_columns_of_which_some_are_empty(tmp_path):
    path = write(tmp_path / "a.tsv", "s\tr1\tr2\nt\t\tr3\n")
    assert read_pairs(path, "tsv", 0, [1, 2]) == (["s", "t"], [["r1", "r2"], ["r3"]])
    with pytest.raises(DataError, match="row 1: no target in columns 1, 2"):
        read_pairs(write(tmp_path / "b.tsv", "s\t\t\n"), "tsv", 0, [1, 2])


@pytest.mark.parametrize("name, content, format, columns, words", [
    ("a.tsv", "a\tb\nc\td\n\nonly one\n", "tsv", (0, 1), r"a\.tsv, row 4: 1 columns where the first row has 2: 'only one'"),
    ("a.tsv", "a\tb\nc\td\te\n", "tsv", (0, 1), r"row 2: 3 columns where the first row has 2"),
    ("a.tsv", "a\tb\n \tb\n", "tsv", (0, 1), r"row 2: column 0 is empty"),
    ("a.tsv", b"a\tb\nc\t\xff\n", "tsv", (0, 1), r"a\.tsv, row 2: byte 0xff is not UTF-8"),
    ("a.csv", 'a,b\n"x\ny",b\nc\n', "csv", (0, 1), r"a\.csv, row 4: 1 columns"),
    ("a.jsonl", '{"s": "a", "t": "b"}\n{"s": \n', "jsonl", ("s", "t"), r"a\.jsonl, row 2: not JSON"),
    ("a.jsonl", '["s"]\n', "jsonl", ("s", "t"), r"row 1: a JSON list; every line must be an object"),
    ("a.jsonl", '{"s": "a"}\n', "jsonl", ("s", "t"), r"row 1: no field 't'; it has s"),
    ("a.jsonl", '{"s": "a", "t": 7}\n', "jsonl", ("s", "t"), r"row 1: column 't' holds 7; text is needed"),
    ("a.jsonl", '{"s": "a", "t": []}\n', "jsonl", ("s", "t"), r"row 1: no target in column 't'"),
    ("a.jsonl", '{"s": "a"}\n', "jsonl", (0, 1), r"column 0 is a number; JSONL has named fields"),
    ("a.txt", "a\n", "text", (0, 1), r"plain text has no source and target"),
    ("a.xml", "a\n", "xml", (0, 1), r"unknown format 'xml'; accepted: text, tsv, csv, jsonl, parquet"),
])
def test_malformed_rows_name_file_and_row(tmp_path, name, content, format, columns, words):
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=words):
        read_pairs(path, format, *columns)


def test_a_damaged_gzip_file_is_an_error(tmp_path):
    whole = gzip.compress(b"a\tb\n" * 1000)
    (tmp_path / "a.tsv.gz").write_bytes(whole[:-10])
    with pytest.raises(DataError, match="damaged or incomplete"):
        read_pairs(tmp_path / "a.tsv.gz", "tsv", 0, 1)


def test_texts_of_a_file(tmp_path):
    assert read_texts(write(tmp_path / "a.txt", f"one\r\n\n{ODD}\nlast"), "text") == ["one", ODD, "last"]
    table = write(tmp_path / "a.tsv", "1\ttext\n")
    assert read_texts(table, "tsv", 1) == ["text"]
    assert read_texts(write(tmp_path / "b.tsv", "id\tbody\n1\ttext\n"), "tsv", "body") == ["text"]
    with pytest.raises(DataError, match="tsv has columns; say which one"):
        read_texts(table, "tsv")


no_line_ends = st.text(st.characters(exclude_characters="\r\n\t", exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(no_line_ends, no_line_ends), min_size=1, max_size=8))
def test_what_is_written_as_tsv_is_read_back(tmp_path, rows):
    rows = [(source.removeprefix("\ufeff") or "x", target) for source, target in rows]
    rows = [(source if source.strip() else "x", target) for source, target in rows]
    path = write(tmp_path / "a.tsv", "".join(f"{s}\t{t}\n" for s, t in rows))
    assert read_pairs(path, "tsv", 0, 1) == ([s for s, _ in rows], [[t] for _, t in rows])


def test_files_are_looked_for_under_every_root(tmp_path):
    (tmp_path / "two" / "text").mkdir(parents=True)
    path = write(tmp_path / "two" / "text" / "a.txt", "x")
    assert find_file("text/a.txt", [tmp_path / "one", tmp_path / "two"]) == path
    assert find_file(str(path), []) == path
    with pytest.raises(DataError, match=r"'text/b.txt' was not found \(looked at .*one/text/b.txt, .*two/text/b.txt\).*--data"):
        find_file("text/b.txt", [tmp_path / "one", tmp_path / "two"])


def test_a_file_that_changed_since_the_plan_is_refused(tmp_path):
    path = write(tmp_path / "a.txt", "x")
    digest = digest_of(path)
    assert digest == "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert open_verified("a.txt", digest, [tmp_path]) == path
    write(path, "y")
    with pytest.raises(RuntimeInputError, match="changed since the plan was made"):
        open_verified("a.txt", digest, [tmp_path])
