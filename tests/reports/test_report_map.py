"""The map of winners with its probabilities, equal cost, and the front of learning against forgetting, as a report shows them."""

import json
import re
import xml.etree.ElementTree as ET
from collections import defaultdict

import pytest
from make_folder import REQUEST, grid_rows, write_folder

import reports
from reports.page import write_figure


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(folder, report.json, laws.json) of two responses; FLOPs rise with the data, and full costs half as much again."""
    rows = grid_rows()
    for row in rows:
        if row["method"] != "none":
            row["flops"] = int(row["finetuning_examples"]) * (9 if row["method"] == "full" else 6) * row["non_embedding_parameters"]
    folder = write_folder(tmp_path_factory.mktemp("map"), rows, request={**REQUEST, "responses": ["test_loss", "pretraining_loss"]})
    return folder, reports.build(folder), json.loads((folder / "laws.json").read_text())


def table(content, name):
    return next(t for t in content["tables"] if t["name"] == name)["rows"]


def test_every_tile_of_the_map_says_how_sure_it_is(built, tmp_path):
    folder, _, laws = built
    path = tmp_path / "map.svg"
    write_figure(folder, "winner-map", path)
    texts = [t.text for t in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")]
    places = [p for p in laws["map"] if p["response"] == "test_loss" and p["factor"] == "non_embedding_parameters"]
    shown = [t for t in texts if re.search(r"\d %$", t or "")]
    assert len(shown) == len(places) == 12
    for p in places:
        best = p["lead"][p["leader"]]
        words = "> 99 %" if best >= 0.995 else f"{100 * best:.0f} %"
        assert any(words in t for t in shown)
    tips = [t.text for t in ET.parse(path).iter("{http://www.w3.org/2000/svg}title") if t.text and "examples:" in t.text]
    assert len(tips) == 12 and all("lowest with probability" in t for t in tips)


def test_the_map_is_a_table_too(built):
    _, content, laws = built
    rows = table(content, "winners")
    assert len(rows) == len(laws["map"]) and all(row["lead"] for row in rows if row["response"] == "test loss")
    for row, place in zip(rows, laws["map"]):
        assert row["leader"] == min(place["methods"], key=lambda m: place["methods"][m]["mean"]) and row["examples"] == place["examples"]


def test_crossings_at_equal_flops_stand_beside_those_at_equal_data(built):
    _, content, laws = built
    rows = table(content, "crossings")
    assert {row["equal"] for row in rows} == {"data", "FLOPs"} and len(rows) == len(laws["crossings"])
    for row, item in zip(rows, laws["crossings"]):
        assert (row["equal"] == "FLOPs") == (item["cost"] == "flops")
        if row["equal"] == "FLOPs":
            assert row["value"] is None and row["flops"] == (item["flops"] or {}).get("value")


def test_the_front_is_what_nothing_beats_on_both_losses(built):
    folder, content, _ = built
    sums = defaultdict(lambda: [0.0, 0.0, 0])
    for r in grid_rows():
        if r["pretraining_tokens"] == 3_932_160 and r["rank"] in ("", 4):
            cell = sums[r["model_size"], r["method"], r["finetuning_examples"]]
            cell[0], cell[1], cell[2] = cell[0] + r["test_loss"], cell[1] + r["pretraining_loss"], cell[2] + 1
    means = {place: (a / n, b / n) for place, (a, b, n) in sums.items()}
    rows = table(content, "forgetting")
    assert {row["front"] for row in rows} == {"yes", "no"}
    for row in rows:
        one = means[row["model_size"], row["method"], row["examples"]]
        rivals = [v for (size, *_), v in means.items() if size == row["model_size"]]
        beaten = any(v[0] <= one[0] and v[1] <= one[1] and v != one for v in rivals)
        assert row["front"] == ("no" if beaten else "yes")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "front: nothing measured is better on both" in page
