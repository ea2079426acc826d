"""The files of a report: well-formed, self-contained, escaped, valid against the schema, written whole; figures as standalone SVG."""

import html.parser
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as tree

import jsonschema
import pytest
from make_folder import RUN, TOKENS, grid_rows, write_folder

import reports
import schemas
from reports.read import ReportError

VOID = {"meta", "link", "br", "img", "hr", "input", "path", "rect"}
HOSTILE = '<script>alert("x")</script> & | `x` [y](javascript:z) "quoted"'


class Page(html.parser.HTMLParser):
    """Checks that tags nest, and collects ids, references and headings."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.references, self.tags, self.headings, self.style = [], [], [], [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "srcset", "poster", "data", "action"):
                self.references.append(value)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(folder, report.json, the parsed page, its text)."""
    folder = write_folder(tmp_path_factory.mktemp("page"), run={**RUN, "data": {"entropy": {"translation": {"nats_per_token": 1.1}}}})
    content = reports.build(folder)
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    return folder, content, page, text


def test_the_page_is_well_formed_and_its_ids_are_unique(built):
    _, _, page, text = built
    assert page.open == [] and len(page.ids) == len(set(page.ids))
    assert text.startswith("<!doctype html>") and '<html lang="en">' in text and 'name="viewport"' in text
    assert page.headings[0] == 1 and page.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:])), page.headings


def test_nothing_is_loaded_from_elsewhere(built):
    _, _, page, text = built
    assert page.references and all(ref.startswith("#") or ref == "data:," for ref in page.references)
    assert all(ref[1:] in page.ids for ref in page.references if ref.startswith("#"))
    assert "script" not in page.tags and "@import" not in page.style and "http" not in page.style
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))


def test_every_figure_has_words_and_every_table_heads(built):
    _, content, page, text = built
    names = {figure["name"] for figure in content["figures"]}
    assert {
        "winner-map",
        "loss-by-data",
        "differences",
        "learning-forgetting",
        "loss-by-size",
        "loss-by-pretraining",
        "loss-by-adapter",
        "exponents",
        "errors",
    } <= names
    assert page.tags.count("figcaption") == len(content["figures"])
    pictures = re.findall(r'<svg viewBox[^>]*role="img"[^>]*aria-labelledby="([^"]+)"', text)
    assert len(pictures) >= 15 and all(name in page.ids for pair in pictures for name in pair.split())
    assert text.count("<th ") == len(re.findall(r'<th scope="(?:col|row)"', text))


def test_colour_is_never_alone(built):
    """Methods differ by marker and by dash, not by colour only."""
    text = built[3]
    from reports.svg import marker_path

    assert len({marker_path(str(i), 0, 0, 4) for i in range(6)}) == 6
    dashes = dict(re.findall(r"\.d(\d)\{stroke-dasharray:([^}]+)\}", text))
    assert len(set(dashes.values())) == 5


def test_contrast_in_both_schemes(built):
    """Text and lines keep 4.5 to 1 against the page in the light and in the dark scheme."""
    from reports.figure import style_sheet

    def light(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        return sum(w * (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4) for w, c in zip((0.2126, 0.7152, 0.0722), parts))

    schemes = str(style_sheet("colours.css")).split("@media")
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", scheme))
        for name in ("--ink", "--soft", "--link", *(f"--c{i}" for i in "012345b")):
            one, two = sorted((light(colours[name]), light(colours["--page"])), reverse=True)
            assert (one + 0.05) / (two + 0.05) >= 4.5, name


def test_report_json_is_valid_and_complete(built):
    folder, content, _, _ = built
    stored = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schemas.load("report")).validate(stored)
    jsonschema.Draft202012Validator.check_schema(schemas.load("report"))
    assert {**stored, "files": content["files"]} == content
    names = [table["name"] for table in stored["tables"]]
    assert names == ["warnings", "laws", "errors", "crossings", "winners", "forgetting", "sweeps", "budget", "correlations", "pairs", "results"]
    assert len(next(t for t in stored["tables"] if t["name"] == "results")["rows"]) == len(grid_rows())
    for table in stored["tables"]:
        assert all(set(r) == {c["key"] for c in table["columns"]} for r in table["rows"])


def test_provenance_gives_the_share_of_training(built):
    told = {item["what"]: item["value"] for item in built[1]["provenance"]}
    assert "(31 % of the workers" in told["Time in training steps"]
    assert told["Jobs: by role: finetune/cell"] == "90"
    assert told["Version of jax"] == RUN["versions"]["jax"] and told["Device"] == RUN["device"]


def test_the_entropy_is_a_line_of_the_figure(built, tmp_path):
    text = built[3]
    assert "exact entropy of the generator" in text
    reports.build(write_folder(tmp_path))
    assert "exact entropy of the generator" not in (tmp_path / "report.html").read_text()


def test_markdown_has_the_same_answer_and_square_tables(built):
    folder, content, _, _ = built
    text = (folder / "report.md").read_text(encoding="utf-8")
    plain = text.replace("\\", "").replace("&lt;", "<")
    assert content["answers"][0]["lead"] in plain
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block[:300]
    assert not re.search(r"\n{3,}\|", text)


def test_hostile_names_are_text(tmp_path):
    rows = grid_rows()
    for item in rows:
        item["task"] = HOSTILE
        if item["method"] == "lora":
            item["method"] = "<b onload=x>"
    folder = write_folder(tmp_path, rows, name=HOSTILE, about=HOSTILE)
    reports.build(folder)
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == [] and "script" not in page.tags and "b" not in page.tags
    assert "&lt;script&gt;" in text and "<script" not in text
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "<script" not in markdown and "<b " not in markdown and "[y](" not in markdown
    for name in reports.figure_names():
        if name in {figure["name"] for figure in json.loads((folder / "report.json").read_text())["figures"]}:
            reports.write_figure(folder, name, tmp_path / "figure.svg")
            tree.parse(tmp_path / "figure.svg")


def test_a_report_is_the_same_twice(built, tmp_path):
    folder, _, _, text = built
    reports.build(folder, tmp_path)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json", "report.md"]


@pytest.mark.parametrize("name", reports.figure_names())
def test_every_figure_stands_alone(built, tmp_path, name):
    path = tmp_path / "sub" / "figure.svg"
    if name == "forgetting-by-data":
        assert "held-out text" in next(f for f in built[1]["figures"] if f["name"] == name)["caption"]
    assert reports.write_figure(built[0], name, path) == str(path)
    text = path.read_text(encoding="utf-8")
    root = tree.fromstring(text)
    assert root.tag.endswith("svg") and "var(" not in text and 'class="card"' in text
    width, height = float(root.get("width")), float(root.get("height"))
    assert 340 <= width <= 1200 and height > 100
    assert text.count("<text") > 5 and not re.search(r"nan|inf\b", text.split("</style>")[1].split("</desc>")[-1].lower().replace("information", ""))


def test_an_unknown_figure_names_those_there_are(built, tmp_path):
    with pytest.raises(ReportError, match="unknown; there are winner-map"):
        reports.write_figure(built[0], "pie", tmp_path / "x.svg")
    with pytest.raises(ReportError, match="no task 'other'"):
        reports.write_figure(built[0], "winner-map:other", tmp_path / "x.svg")


def broken(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("laws.json", "{", r"laws\.json:1:2: not JSON"),
        ("laws.json", "[]", "holds a list"),
        ("results.csv", "task,task\n", "stands twice"),
        ("results.csv", "task,method,test_loss\na,full\n", r"results\.csv:2: 2 cells, the header has 3"),
        ("results.csv", "task,method,test_loss\na,full,low\n", r"results\.csv:2: test_loss is 'low'"),
        ("plan.json", "nonsense", r"plan\.json:1:1"),
        ("laws.draws.npz", "nonsense", r"laws\.draws\.npz: cannot be read"),
    ],
)
def test_bad_files_are_named_with_their_place(tmp_path, name, text, word):
    with pytest.raises(ReportError, match=word):
        reports.build(broken(write_folder(tmp_path), name, text))


def test_missing_files_say_what_writes_them(tmp_path):
    with pytest.raises(ReportError, match="not a folder"):
        reports.build(tmp_path / "none")
    with pytest.raises(ReportError, match=r"laws\.json: not found; `tunelaw fit"):
        reports.build(tmp_path)
    broken(tmp_path, "laws.json", "{}")
    with pytest.raises(ReportError, match="lists no cells"):
        reports.build(tmp_path)


def test_a_diverged_run_counts_in_no_mean(tmp_path):
    rows = grid_rows()
    lost = next(
        r
        for r in rows
        if (r["method"], r["model_size"], r["finetuning_examples"], r["seed"], r["pretraining_tokens"]) == ("full", "xs", 256, 0, TOKENS)
    )
    lost.update(status="diverged", test_loss="")
    content = reports.build(write_folder(tmp_path, rows))
    assert "DIVERGED_CELLS" in {item["id"] for item in content["warnings"]}


def test_importing_the_room_is_light():
    """Neither JAX nor the heavy libraries come with `import reports`."""
    code = "import sys, reports; print([m for m in ('jax', 'runtime', 'scipy', 'numpy', 'jinja2', 'laws') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    code = "import sys, reports.page; print([m for m in ('jax', 'flax', 'runtime', 'compiler', 'tunelaw') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize(("entropy", "drawn"), [(1.1, True), (0.05, False)])
def test_a_floor_far_below_the_data_is_said_and_not_drawn(tmp_path, entropy, drawn):
    reports.build(write_folder(tmp_path, run={**RUN, "data": {"entropy": {"translation": entropy}}}))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ('class="ref floor"' in text) is drawn
    assert (f"{entropy:.3f} nats, lies far below what is drawn" in text) is not drawn
