"""Tables from anywhere, hostile ones too: an answer or an error that names the place, never a traceback."""

import gzip

import make_table
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest

import laws

RNG = np.random.default_rng(3)
SIZES, DATA = (a.ravel() for a in np.meshgrid([1e6, 4e6, 2e7, 9e7], [100.0, 400.0, 1600.0, 6400.0]))
LOSS = 40 * SIZES**-0.25 * DATA**-0.12 + 1.1
ARGUMENTS = {"factors": {"X": "params", "D": "examples"}, "response": "loss", "intervals": "none"}


def foreign(**changes):
    return {"params": SIZES.tolist(), "examples": DATA.tolist(), "loss": LOSS.tolist(), **changes}


def csv_of(path, columns):
    names = list(columns)
    text = "\n".join([",".join(names)] + [",".join(str(columns[n][i]) for n in names) for i in range(len(columns[names[0]]))])
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "wt", encoding="utf-8") as file:
        file.write(text + "\n")
    return path


def value(result, name):
    return next(e for e in result["laws"] if e["form"] == "multiplicative")["parameters"][name]["value"]


def test_the_same_table_as_csv_gz_tsv_parquet_pandas_and_columns(tmp_path):
    columns = foreign()
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    sources = [csv_of(tmp_path / "t.csv", columns), csv_of(tmp_path / "t.csv.gz", columns), tmp_path / "t.parquet", pandas.DataFrame(columns), columns]
    (tmp_path / "t.tsv").write_text((tmp_path / "t.csv").read_text().replace(",", "\t"))
    found = [value(laws.fit_foreign(s, **ARGUMENTS), "alpha") for s in sources + [tmp_path / "t.tsv"]]
    assert found == pytest.approx([0.25] * 6, rel=1e-4) and len({round(f, 12) for f in found}) == 1


def test_text_and_lists_name_the_same_columns():
    one = laws.fit_foreign(foreign(), "X=params,D=examples", "loss", forms="additive,multiplicative", intervals="none")
    two = laws.fit_foreign(foreign(), {"X": "params", "D": "examples"}, ["loss"], forms=["additive", "multiplicative"], intervals="none")
    assert one == two and [e["form"] for e in one["laws"]] == ["additive", "multiplicative"]
    assert one["laws"][0]["symbols"] == {"X": "params", "D": "examples"} and one["laws"][0]["range"]["examples"] == [100.0, 6400.0]


def test_groups_become_laws_and_methods_are_compared():
    columns = {
        "dataset": ["a"] * 16 + ["b"] * 16, "method": (["full"] * 8 + ["lora"] * 8) * 2, "params": np.tile(SIZES[:8], 4), "examples": np.tile(DATA[:8], 4),
        "loss": np.concatenate([LOSS[:8], LOSS[:8] + 0.1, LOSS[:8] * 2, LOSS[:8] * 2]),
    }  # fmt: skip
    result = laws.fit_foreign({k: list(v) for k, v in columns.items()}, "X=params,D=examples", "loss", group="dataset,method", intervals="none")
    assert {(e["task"], e["method"]) for e in result["laws"]} == {("a", "full"), ("a", "lora"), ("b", "full"), ("b", "lora")}
    kinds = {c["task"]: (c["kind"], c["leader"]) for c in result["crossings"] if c["source"] == "data"}
    assert kinds == {"a": ("none", "full"), "b": ("tie", None)}


def test_power_of_a_table_with_data_alone():
    d = np.geomspace(10, 1e4, 8)
    result = laws.fit_foreign({"n": d.tolist(), "y": (3 * d**-0.4 + 0.2).tolist()}, "D=n", "y", intervals="none")
    assert [e["form"] for e in result["laws"]] == ["power"] and result["laws"][0]["parameters"]["beta"]["value"] == pytest.approx(0.4, rel=1e-4)
    with pytest.raises(laws.TableError, match="needs a second factor"):
        laws.fit_foreign({"n": d.tolist(), "y": d.tolist()}, "D=n", "y", forms="additive")


def test_replicates_are_seeds_of_one_cell():
    columns = {k: v * 2 for k, v in foreign().items()}
    columns["loss"] = [y + s for s in (0.01, -0.01) for y in LOSS]
    entry = laws.fit_foreign(columns, **ARGUMENTS)["laws"][0]
    assert entry["points"] == 16 and {c["seeds"] for c in entry["cells"]} == {2}
    assert entry["cells"][0]["se"] == pytest.approx(0.01, rel=1e-6) and entry["fit"]["delta"] == pytest.approx(1.345 * 0.01 * np.sqrt(2), rel=1e-6)


@pytest.mark.parametrize(("cell", "place"), [("high", "row 7, column loss: 'high' is not a number"), ("1 000", "row 7, column loss: '1 000'")])
def test_a_bad_cell_is_named_by_row_and_column(tmp_path, cell, place):
    columns = foreign()
    columns["loss"][5] = cell
    with pytest.raises(laws.TableError, match=place):
        laws.fit_foreign(csv_of(tmp_path / "t.csv", columns), **ARGUMENTS)


@pytest.mark.parametrize(("text", "message"), [
    ("", "the table is empty"), ("params,examples,loss\n", "header but no rows"), ("params,examples,loss\n1,2\n", "row 2: 2 cells where the header has 3"),
    ("params,params,loss\n1,2,3\n", "stands there twice"), ("a,b,c\n1,2,3\n", "there is no column 'params'"),
    ("params,examples,loss\n-1,2,3\n", "row 2, column params: -1 cannot be"), ("params,examples,loss\ninf,2,3\n", "column params: inf cannot be"),
    ('params,examples,loss\n1,2,"3\n', "not a readable table"),
])  # fmt: skip
def test_hostile_text(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(laws.TableError, match=message):
        laws.fit_foreign(tmp_path / "t.csv", **ARGUMENTS)


def test_hostile_files(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"params,examples,loss\n\xff\xfe,1,2\n")
    with pytest.raises(laws.TableError, match="not UTF-8"):
        laws.fit_foreign(tmp_path / "t.csv", **ARGUMENTS)
    (tmp_path / "t.parquet").write_bytes(b"not parquet")
    with pytest.raises(laws.TableError, match="not a readable Parquet"):
        laws.fit_foreign(tmp_path / "t.parquet", **ARGUMENTS)
    (tmp_path / "t.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(laws.TableError, match="not a readable table"):
        laws.fit_foreign(tmp_path / "t.csv.gz", **ARGUMENTS)
    with pytest.raises(laws.TableError, match="no such file"):
        laws.read_table(tmp_path / "absent.csv")
    with pytest.raises(laws.TableError, match="no results.csv"):
        laws.read_table(tmp_path)
    (tmp_path / "ours.csv").write_text("a,b\n1,2\n")
    with pytest.raises(laws.TableError, match="--factors"):
        laws.read_table(tmp_path / "ours.csv")


def refused(columns, **more):
    return {e["form"]: e["refused"] for e in laws.fit_foreign(columns, **{**ARGUMENTS, **more})["laws"]}


def test_hostile_numbers_are_refusals_with_a_reason():
    one = {k: v[:1] for k, v in foreign().items()}
    assert set(refused(one).values()) == {"TOO_FEW_LEVELS"}
    assert set(refused(foreign(loss=[2.0] * 16)).values()) == {"CONSTANT_RESPONSE"}
    assert set(refused(foreign(loss=[-y for y in LOSS])).values()) == {"NOT_POSITIVE"}
    assert set(refused(foreign(loss=[""] * 16)).values()) <= {"TOO_FEW_POINTS"} or refused(foreign(loss=[""] * 16)) == {}
    few = {k: [v[i] for i in (0, 1, 2, 4, 8)] for k, v in foreign().items()}
    result = laws.fit_foreign(few, **ARGUMENTS)
    assert {(e["refused"], e["needed"]) for e in result["laws"]} == {("TOO_FEW_POINTS", 7), ("TOO_FEW_POINTS", 8)}
    assert all("5 fitted cells" in e["reason"] and e["parameters"] == {} for e in result["laws"])


def test_missing_and_infinite_cells_are_left_out_and_counted():
    columns = foreign()
    columns["loss"][3], columns["loss"][9], columns["examples"][12], columns["params"][1] = "", float("inf"), 0, 0
    result = laws.fit_foreign(columns, **ARGUMENTS)
    counts = {w["id"]: w["rows"] for w in result["warnings"]}
    assert counts == {"MISSING_CELLS": 1, "DIVERGED_CELLS": 1, "ZERO_DATA": 1, "MISSING_FACTOR": 1}
    assert result["laws"][0]["points"] == 12 and value(result, "alpha") == pytest.approx(0.25, rel=1e-3)


def test_a_billion_fold_range():
    x, d = (a.ravel() for a in np.meshgrid(np.geomspace(1, 1e9, 5), np.geomspace(1, 1e9, 5)))
    result = laws.fit_foreign({"x": x.tolist(), "d": d.tolist(), "y": (3 * x**-0.1 * d**-0.2 + 1).tolist()}, "X=x,D=d", "y", intervals="none")
    assert value(result, "alpha") == pytest.approx(0.1, rel=1e-3) and value(result, "E") == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(("factors", "message"), [
    ("X=params", "D .the column of the data size. is missing"), ("X:params", "symbol=column"), ("Q=params,D=examples", "no form has the symbol Q"),
    ("X=params,N=examples,D=loss", "X and N both"), ("X=params,D=params", "same column"), ("D=examples,D=params", "D stands there twice"),
])  # fmt: skip
def test_factors_that_cannot_be_read(factors, message):
    with pytest.raises(laws.TableError, match=message):
        laws.fit_foreign(foreign(), factors, "loss")


def test_our_own_table_checks_its_cells(tmp_path):
    rows = make_table.rows(seeds=1)
    rows[2]["held_out"] = "yes"
    with pytest.raises(laws.TableError, match="row 4, column held_out: 'yes'"):
        laws.read_table(make_table.save(tmp_path / "results.csv", rows))
    rows = make_table.rows(seeds=1)
    rows[5]["finetuning_examples"] = "many"
    with pytest.raises(laws.TableError, match="row 7, column finetuning_examples: 'many'"):
        laws.read_table(make_table.save(tmp_path / "results.csv", rows))
    table = laws.read_table(make_table.save(tmp_path / "results.csv", make_table.rows(seeds=1)))
    assert np.isnan(table["rank"][0]) and table["seed"][0] == "0" and len(table) == len(make_table.rows(seeds=1))


def test_tokens_per_parameter_stand_for_the_data_size():
    """N and M are as good as N and D: M = D / N (Gadre et al. 2024)."""
    rows = [(n, m) for n in (1e7, 8e7, 4e8) for m in (20.0, 80.0, 320.0)]
    loss = [1.8 + 160 * n**-0.27 + 280 * (m * n) ** -0.27 for n, m in rows]
    columns = {"size": [n for n, _ in rows], "ratio": [m for _, m in rows], "tokens": [n * m for n, m in rows], "loss": loss}
    options = {"response": "loss", "forms": "overtraining", "loss": "squares", "intervals": "none"}
    by_ratio = laws.fit_foreign(columns, {"N": "size", "M": "ratio"}, **options)["laws"][0]
    by_data = laws.fit_foreign(columns, {"N": "size", "D": "tokens"}, **options)["laws"][0]
    assert by_ratio["refused"] is None
    assert by_ratio["parameters"]["eta"]["value"] == pytest.approx(0.27, rel=1e-4)
    assert by_ratio["parameters"] == by_data["parameters"]
    with pytest.raises(laws.TableError, match="D .the column of the data size. is missing"):
        laws.fit_foreign(columns, {"M": "ratio"}, **options)
