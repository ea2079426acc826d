"""Reading tables made elsewhere: wide tables, missing cells, hold-out rules, measured columns, and ten thousand random files."""

import csv
import io
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import laws
from laws.foreign import melt, read_foreign
from laws.holdout import codes_of
from laws.options import parse_bounds, parse_forms, parse_rule, parse_shared, parse_wide
from laws.points import cells_of
from laws.reading import MISSING, Raw, load, number
from laws.table import Table

D = np.array([100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0, 6400.0])
CURVES = {"small": 3 * D**-0.3 + 1.5, "large": 2.5 * D**-0.3 + 1.0}


def wide(tmp_path, name="wide.csv", header=None, rows=None, **extra):
    header = header or ["model", *(f"{d:g}" for d in D), "size"]
    rows = rows or [[k, *(f"{y:.9g}" for y in v), "1e8" if k == "small" else "1e9"] for k, v in CURVES.items()]
    path = tmp_path / name
    path.write_text("\n".join(",".join(r) for r in [header, *rows]) + "\n")
    return path


def test_a_wide_table_is_the_long_one(tmp_path):
    found = laws.fit_foreign(wide(tmp_path), wide="D", group="model", intervals="none")
    long = {"model": np.repeat(list(CURVES), len(D)).tolist(), "n": np.tile(D, 2).tolist(), "y": np.concatenate([*CURVES.values()]).tolist()}
    same = laws.fit_foreign(long, "D=n", "y", group="model", intervals="none")
    assert [e["task"] for e in found["laws"]] == ["large", "small"] == [e["task"] for e in same["laws"]]
    for a, b in zip(found["laws"], same["laws"]):
        assert a["response"] == "loss" and a["symbols"] == {"D": "D"} and a["points"] == 7
        assert {k: v["value"] for k, v in a["parameters"].items()} == pytest.approx({k: v["value"] for k, v in b["parameters"].items()}, rel=1e-5)


def test_a_range_of_headers_a_name_of_the_response_and_a_factor_beside(tmp_path):
    read = read_foreign(wide(tmp_path), "X=size", "nll", wide="D=200:1600")
    assert sorted(set(read.table["D"])) == [200, 400, 800, 1600] and read.responses == ["nll"] and read.factors == {"X": "size", "D": "D"}
    assert read.table["nll"][:4] == pytest.approx(CURVES["small"][1:5]) and list(read.table["size"]) == [1e8] * 4 + [1e9] * 4


@pytest.mark.parametrize(("header", "rows", "arguments", "message"), [
    (["m", "a"], [["x", "1"]], {}, "no column has a number in this range"), (["m", "100", "100.0"], [["x", "1", "2"]], {}, "the same value of D"),
    (["m", "-1", "2"], [["x", "1", "2"]], {}, "'-1' cannot be a value of D"), (["m", "1", "loss"], [["x", "1", "2"]], {}, "a column 'loss', but the table has one"),
    (["D", "1", "2"], [["x", "1", "2"]], {}, "a column 'D', but"), (["m", "1", "2"], [["x", "1", "high"]], {}, "row 2, column 2: 'high' is not a number"),
    (["m", "1", "2"], [["x", "1", "2"]], {"factors": "D=m"}, "so --factors cannot name"), (["m", "1", "2"], [["x", "1", "2"]], {"wide": "D=5:1"}, "--wide D=5:1"),
    (["m", "1", "2"], [["x", "1", "2"]], {"response": "a,b"}, "a wide table has one response"), (["m", "1", "2"], [["x", "1", "2"]], {"wide": "N"}, "D (the column of the data size) is missing"),
])  # fmt: skip
def test_wide_tables_that_cannot_be_read(tmp_path, header, rows, arguments, message):
    with pytest.raises(laws.TableError) as error:
        laws.fit_foreign(wide(tmp_path, header=header, rows=rows), **{"wide": "D", **arguments})
    assert message in str(error.value)


def test_missing_cells_of_a_wide_table_are_counted_by_their_row(tmp_path):
    path = wide(tmp_path)
    path.write_text(path.read_text().replace(f"{CURVES['large'][3]:.9g}", "NA"))
    found = laws.fit_foreign(path, wide="D", group="model", intervals="none")
    assert [(w["id"], w["rows"]) for w in found["warnings"]] == [("MISSING_CELLS", 1)] and "rows 3)" in found["warnings"][0]["message"]


def test_rows_without_data_are_the_base_of_a_form_that_needs_it():
    d = np.tile([0.0, 100, 400, 1600, 6400], 12)
    n = np.repeat([1e7, 1e8, 1e9], 20)
    p = np.tile(np.repeat([0.0, 0.01, 0.05, 0.2], 5), 3)
    base = 3 * (n / 1e7) ** -0.1
    y = base + np.where(d > 0, 0.02 * d**0.5 / ((1 + 40 * p) * n) ** 0.1, 0)
    table = {"n": n.tolist(), "d": d.tolist(), "share": p.tolist(), "y": y.tolist()}
    read = read_foreign(table, "N=n,D=d,p=share", "y", forms=["forgetting"])
    assert read.table["L0"] == pytest.approx(base) and read.factors["L0"] == "L0"
    found = laws.fit_foreign(table, "N=n,D=d,p=share", "y", forms="forgetting", intervals="none")
    entry = found["laws"][0]
    assert entry["symbols"] == {"L0": "L0", "p": "share", "N": "n", "D": "d"} and entry["points"] == 48 and "ZERO_DATA" in {w["id"] for w in found["warnings"]}
    assert entry["parameters"]["beta"]["value"] == pytest.approx(0.5, rel=1e-2) and entry["parameters"]["B"]["value"] == pytest.approx(40, rel=0.05)
    with pytest.raises(laws.TableError, match="p is no column; name one with --factors p=COLUMN"):
        laws.fit_foreign(table, "N=n,D=d", "y", forms="forgetting")


def test_a_measured_column_stands_in_an_expression_by_its_own_name():
    d = np.tile(D, 3)
    start = np.repeat([2.0, 3.0, 5.0], len(D))
    table = {"start": start.tolist(), "n": d.tolist(), "y": (start * 0.5 * d**-0.4 + 1).tolist()}
    found = laws.fit_foreign(table, "D=n", "y", forms=["mine: A * start * D**-beta + E", "power"], intervals="none")
    mine = next(e for e in found["laws"] if e["form"] == "mine")
    assert {k: v["value"] for k, v in mine["parameters"].items()} == pytest.approx({"A": 0.5, "beta": 0.4, "E": 1.0}, rel=1e-4) and mine["points"] == 21


X2, D2 = (a.ravel() for a in np.meshgrid([1e6, 1e7, 1e8, 1e9], [10.0, 100.0, 1000.0, 10_000.0]))
GRID = {"x": X2.tolist(), "d": D2.tolist(), "y": (5 * X2**-0.1 * D2**-0.2 + 1).tolist(), "family": ["a", "b"] * 8}


def held(rules, **more):
    found = laws.fit_foreign(GRID, "X=x,D=d", "y", forms="multiplicative", intervals="none", hold_out=rules, **more)["laws"][0]
    kinds = {}
    for cell in found["cells"]:
        kinds.setdefault(cell["held_out"], []).append((cell["x"], cell["d"]))
    return kinds


def test_a_rule_holds_out_and_its_kind_is_worked_out():
    assert len(held("D>=10000")["edge_data"]) == 4 and len(held("X>=1e9")["edge_size"]) == 4 and len(held("D = 100")["interior"]) == 4
    both = held(["d>1000", "x>1e8"])
    assert (len(both["edge_data"]), len(both["edge_size"]), both["corner"]) == (3, 3, [(1e9, 1e4)]) and len(both[""]) == 9
    assert len(held("family=b")["interior"]) + len(held("family=b").get("edge_size", [])) == 8 and len(held("family != b")[""]) == 8


@pytest.mark.parametrize(("rule", "parts"), [
    ("D>1e5", ("D", ">", "1e5")), (" D >= 1e5 ", ("D", ">=", "1e5")), ("a b==c", ("a b", "=", "c")), ("x != 'y z'", ("x", "!=", "y z")), ("D<10", ("D", "<", "10")),
])  # fmt: skip
def test_rules_are_read(rule, parts):
    assert parse_rule(rule) == parts


def test_options_are_read():
    assert parse_forms("a, b") == ["a", "b"] and parse_forms(["a,b", "max(A,B)*D", "a"]) == ["a", "b", "max(A,B)*D"] and parse_forms(None) == []
    assert parse_shared("beta=factor,E=factor+method") == {"beta": ["factor"], "E": ["factor", "method"]}
    assert parse_shared("E=data", ["data", "method"]) == {"E": ["task"]} and parse_shared({"E": ["task"]}) == {"E": ["task"]}
    assert parse_bounds("E=0:2,alpha=:1,b=-1:") == {"E": [0, 2], "alpha": [-np.inf, 1], "b": [-1, np.inf]}
    assert parse_wide("D") == ("D", 0, np.inf) and parse_wide("D=200:1e6") == ("D", 200, 1e6)
    with pytest.raises(laws.TableError, match="`task` is all of a, b"):
        parse_shared("E=a", ["a", "b"])


@pytest.mark.parametrize("word", [*MISSING, " NaN ", None, float("nan")])
def test_missing_spellings(word):
    assert np.isnan(number(word))


@pytest.mark.parametrize("word", ["x", "1,5", "1 2", "0x10", "--1", "1e", "True", True, np.bool_(False), [1], {}, b"1", 1j])
def test_what_is_no_number(word):
    with pytest.raises(ValueError):
        number(word)


WORDS = st.text(string.printable + "é\u2028\ufeff\x00", max_size=8)
CELLS = st.one_of(WORDS, st.floats().map(repr), st.integers(-(10**40), 10**40).map(str), st.sampled_from([*MISSING, "1,5", "1e400", '"', "1\t2"]))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400) | st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=6).map(lambda rows: "\n".join(",".join(r) for r in rows).encode("utf-8", "surrogatepass")))
def test_any_file_is_a_table_or_a_table_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(content)
    try:
        raw = load(path)
    except laws.TableError as error:
        assert "fuzz.csv" in str(error)
        return
    assert len(raw.header) == len(set(raw.header)) == len(raw.columns) and {len(c) for c in raw.columns} == {len(raw.lines)} and len(raw.lines)
    for name in raw.header:
        try:
            values = raw.numbers(name)
        except laws.TableError as error:
            assert f"column {name}: " in str(error)
        else:
            assert values.dtype == float and all(v == number(c) or v != v and number(c) != number(c) for v, c in zip(values, raw.column(name)))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.text(string.ascii_letters + ' ,;"\n.0', max_size=6), min_size=3, max_size=3), min_size=1, max_size=6), st.sampled_from([",", ";", "\t"]))
def test_what_a_csv_writer_wrote_is_read_back(tmp_path_factory, cells, mark):
    """Cells with quotes, separators and line breaks come back as they were, but for the space around them; blank rows are passed over."""
    if mark == "\t":
        cells = [[c.replace("\n", " ").replace('"', "'") for c in row] for row in cells]
    out = io.StringIO()
    csv.writer(out, delimiter=mark).writerows([["a", "b", "c"], *cells])
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_bytes(out.getvalue().encode())
    wanted = [row for row in cells if any(c.strip() for c in row)]
    if not wanted:
        with pytest.raises(laws.TableError, match="header but no rows"):
            load(path)
        return
    raw = load(path)
    assert raw.header == ["a", "b", "c"] and [list(r) for r in zip(*raw.columns)] == wanted


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", ""]), st.sampled_from([1.0, 2.0, np.nan]), st.sampled_from(["0", "1", "10"]), st.floats(0.1, 9)), min_size=1, max_size=30))
def test_cells_are_those_of_a_plain_loop(rows):
    """Against grouping row by row: the same cells in the same order, means, seeds and rows."""
    task, d, seed, y = (np.array(c, object) for c in zip(*rows))
    table = Table({"task": task, "d": d.astype(float), "seed": seed, "y": y.astype(float)}, np.arange(len(rows)))
    found, _ = cells_of(table, "y", ["d"], "d")
    groups: dict = {}
    for i, (t, x, _, _) in enumerate(rows):
        groups.setdefault((t, "", "", (0, 0.0) if x != x else (1, x)), []).append(i)
    assert [c.key for c in found] == sorted(groups)
    for c in found:
        own = sorted(groups[c.key], key=lambda i: (seed[i].zfill(12), y[i]))
        assert c.rows.tolist() == own and c.seeds == [seed[i] for i in own] and c.mean == pytest.approx(np.mean([y[i] for i in own]), rel=1e-12)
    single, _ = cells_of(table, "y", ["d"], "d", rows=True)
    assert sorted(c.rows[0] for c in single) == list(range(len(rows))) and all(c.count == 1 for c in single) and len({c.key for c in single}) == len(rows)


def test_codes_tell_rows_apart_and_nan_is_one_value():
    a, b = np.array([1.0, np.nan, 1.0, np.nan]), np.array(["x", "y", "x", "x"], object)
    codes = codes_of([a, b], 4)
    assert codes[0] == codes[2] and len({*codes.tolist()}) == 3
    raw = Raw(["m", "1", "2"], [["p", "q"], ["3", "4"], ["5", ""]], np.array([2, 3]), "t")
    assert melt(raw, "D", 0, np.inf, "y").columns == [["p", "p", "q", "q"], [1.0, 2.0, 1.0, 2.0], [3.0, 5.0, 4.0, pytest.approx(np.nan, nan_ok=True)]]
