"""The page: every number is a fact, nothing is loaded, nothing of a name is markup."""

import dataclasses
import json
from html.parser import HTMLParser

import pytest

from headrace.errors import TransientError
from headrace.report import (
    Category,
    Centre,
    Centres,
    Feature,
    Grid,
    Histogram,
    Published,
    RunFacts,
    facts_to_json,
    write_report,
)
from headrace.report.page import page

FULL = RunFacts(
    "segments",
    entity="customer_id",
    generation=12,
    champion_before=11,
    champion_after=12,
    delta_version=31,
    cut=(("", "f00d", 541_909),),
    as_of="2024-05-01T10:00:00Z",
    reference="2011-12-09T00:00:00Z",
    created_at="2024-05-01T10:03:00Z",
    source="/data/retail.csv.gz",
    note="GENERATED DATA IS USED",
    rows_read=541_912,
    rows=541_909,
    blank=17,
    dropped={"no customer_id": 135_080},
    quarantined={"bad timestamp": 2, "bad integer": 1},
    entities=4_372,
    categories=(
        Category("cluster", "number", {"0": 4_001, "1": 371}),
        Category("segment", "name", {"Hibernating": 3_053, "Champions": 1_319}),
    ),
    features=(Feature("recency", 4_372, 9, 0.0, 50.0, 91.58, 373.0, Histogram((0.0, 200.0, 373.0), (4_000, 372))),),
    grid=Grid(
        "r_score", "f_score", (1, 2), (1, 2), ((3_001, 52), (0, 1_319)), "monetary", ((293.51, 20.25), (None, 9_112.01))
    ),
    centres=Centres(
        ("recency", "monetary"),
        (Centre(0, 4_001, (56.56, 1_058.33), (0.15, 0.02)), Centre(1, 371, (182.66, 597.64), (0.5, 0.01))),
    ),
    inertia=16.87,
    inertia_by_k=((2, 75.23), (3, 40.57)),
    published=Published(4_370, 2, 1),
    code_version="0.1.0",
    seed=7,
    definition_sha256="ab" * 32,
    settings={"spark": {"master": "local[2]"}, "home": "/h"},
    files={"theta.json": "cd" * 32},
    seconds={"ingest": 12.1},
    example="17850",
)
HOSTILE = '<script>alert("1")</script><img src=x onerror=y> $\\frac{ $ {{ 7*7 }} \x00\x1b[31m'


class Read(HTMLParser):
    """Tables by the id around them, tags and attributes, and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._table: list[list[str]] = []
        self._cell = False
        self._hidden = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("section", "div") and dict(attrs).get("id"):
            self._table = self.tables.setdefault(dict(attrs)["id"], [])
        if tag == "tr":
            self._table.append([])
        if tag in ("td", "th"):
            self._table[-1].append("")
            self._cell = True
        if tag == "br" and self._cell:
            self._table[-1][-1] += " / "
        self._hidden = tag == "style"

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._cell = False
        self._hidden = False

    def handle_data(self, data):
        if not self._hidden:
            self.text += data
        if self._cell:
            self._table[-1][-1] += data


@pytest.fixture(scope="module")
def full():
    return Read(page(FULL))


def test_tables_hold_the_facts(full):
    assert full.tables["category-1"][1:] == [["0", "4,001", "91.5 %"], ["1", "371", "8.5 %"], ["all", "4,372", ""]]
    assert full.tables["category-2"][1:3] == [["Hibernating", "3,053", "69.8 %"], ["Champions", "1,319", "30.2 %"]]
    assert full.tables["centres"] == [
        ["cluster", "customers", "recency", "monetary"],
        ["0", "4,001", "56.56", "1,058.33"],
        ["1", "371", "182.66", "597.64"],
    ]
    assert full.tables["grid"] == [
        ["", "1", "2"],
        ["2", "0 / -", "1,319 / 9,112.01"],
        ["1", "3,001 / 293.51", "52 / 20.25"],
    ]
    assert full.tables["features"][1] == ["recency", "0", "50", "91.58", "373", "9"]
    assert full.tables["inertia"][1:] == [["2", "75.23"], ["3", "40.57"]]
    assert full.tables["quality"][1:] == [
        ["read", "541,912"],
        ["blank lines, skipped", "17"],
        ["quarantined: bad timestamp", "2"],
        ["quarantined: bad integer", "1"],
        ["events in the snapshot", "541,909"],
        ["dropped: no customer_id", "135,080"],
        ["counted", "406,829"],
    ]
    assert [row[1] for row in full.tables["published"]] == ["4,370", "2", "1"]
    assert full.tables["seconds"][1:] == [["ingest", "12.10"]]
    assert full.tables["cut"][1:] == [["-", "f00d", "541,909"]]
    assert full.tables["files"] == [["theta.json", "cd" * 32]]
    assert full.tables["settings"] == [["spark.master", "local[2]"], ["home", "/h"]]
    assert ["seed", "7"] in full.tables["provenance"]
    assert ["reference instant", "2011-12-09T00:00:00Z"] in full.tables["provenance"]


def test_the_heading_names_definition_generation_and_both_champions(full):
    assert "segments · generation 12" in full.text
    assert "champion: generation 12, before: 11" in full.text
    assert "lake version 31" in full.text
    assert "GENERATED DATA IS USED" in full.text
    assert "headrace lookup segments 17850 --json" in full.text


def test_tiles_hold_the_facts(full):
    words = [word.strip() for word in full.text.split("\n") if word.strip()]
    assert "customers4,372" in words
    assert "quarantined3" in words
    assert "dropped135,080" in words
    assert "inertia16.87" in words


def test_all_plots_are_there_with_their_numbers(full):
    drawn = [attrs["aria-label"].split(";")[0] for tag, attrs in full.tags if tag == "figure"]
    assert drawn == [
        "Customers per cluster",
        "Customers per segment",
        "Customers by recency and frequency",
        "Inertia over k",
        "Input quality",
    ]
    assert sum(tag == "svg" for tag, _ in full.tags) == 5
    pictures = page(FULL).split("<h2>Numbers</h2>")[0].split("<h2>Pictures</h2>")[1]
    for label in ("4,001", "371", "Hibernating", "3,053", "3,001", "9,112", "k = 2", "406,829", "135,080"):
        assert f">{label}<" in pictures, label


def test_the_page_loads_nothing_and_runs_nothing(full):
    text = page(FULL)
    assert "http:" not in text
    assert "https:" not in text
    assert "//" not in text.replace("// ", "")
    assert not {tag for tag, _ in full.tags} & {"script", "link", "img", "iframe", "object", "embed", "image", "base"}
    for _, attrs in full.tags:
        assert not {name for name in attrs if name.startswith("on") or name in ("src", "srcset", "action")}
        for name in ("href", "xlink:href"):
            assert attrs.get(name, "#").startswith("#")
    assert "@import" not in text
    assert all(part.startswith("#") for part in text.split("url(")[1:])


def test_every_reference_inside_the_page_has_its_own_target():
    text = page(FULL)
    tags = Read(text).tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    used = {attrs["xlink:href"][1:] for _, attrs in tags if "xlink:href" in attrs}
    used |= {part.split(")")[0][1:] for part in text.split("url(")[1:]}
    assert used
    assert used <= set(ids)


@pytest.mark.filterwarnings("error")
def test_names_are_text_and_never_markup():
    run = dataclasses.replace(
        FULL,
        definition=HOSTILE,
        entity=HOSTILE,
        note=HOSTILE,
        source=HOSTILE,
        example=HOSTILE,
        categories=(
            Category(HOSTILE, "name", {HOSTILE: 5, "$x_1$": 3, "\u5ba2\u6237": 1}),
            Category("c", "number", {HOSTILE: 1}),
        ),
        dropped={HOSTILE: 1},
        quarantined={HOSTILE: 2},
        features=(Feature(HOSTILE, 1, 0, 1.0, 1.0, 1.0, 1.0),),
        centres=Centres((HOSTILE,), (Centre(0, 1, (1.0,), (1.0,)),)),
        settings={HOSTILE: HOSTILE},
        files={HOSTILE: HOSTILE},
        cut=((HOSTILE, HOSTILE, 1),),
        seconds={HOSTILE: 1.0},
    )
    read = Read(page(run))
    assert not {tag for tag, _ in read.tags} & {"script", "img"}
    assert read.text.count('alert("1")') > 10
    assert "{{ 7*7 }}" in read.text
    assert ">$x_1$<" in page(run)


def test_a_page_of_nothing_but_a_name():
    read = Read(page(RunFacts("spend")))
    assert "spend" in read.text
    assert "headrace lookup spend ENTITY --json" in read.text
    assert not [tag for tag, _ in read.tags if tag in ("svg", "dl")]


def test_features_alone_are_drawn_as_histograms():
    features = (
        Feature("total", 90, 0, -3.5, 4.0, 5.25, 1e7, Histogram((-3.5, 0.0, 8.0), (30, 60), beyond=4)),
        Feature("visits", 90, 0, 1.0, 1.0, 1.0, 1.0, Histogram((1.0, 1.0), (90,))),
        Feature("nobody", 0, 90, None, None, None, None),
    )
    read = Read(page(RunFacts("spend", entity="client", rows=100, features=features)))
    drawn = [attrs["aria-label"].split(";")[0] for tag, attrs in read.tags if tag == "figure"]
    assert drawn == ["Clients by total", "Clients by visits", "Input quality"]
    assert "The last bar also holds the 4 above 8." in read.text
    assert read.tables["features"][3] == ["nobody", "-", "-", "-", "-", "90"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [(None, 1, "generation 1, before: none"), (0, 1, "generation 1, before: none"), (4, 4, "generation 4, as before")],
)
def test_the_champion_is_told(before, after, said):
    assert said in page(RunFacts("spend", champion_before=before, champion_after=after))


def test_the_report_is_written_whole_and_depends_on_the_facts_alone(tmp_path):
    path = write_report(tmp_path / "reports" / "a.html", FULL)
    assert path == tmp_path / "reports" / "a.html"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.html"]
    assert path.read_text("utf-8") == page(FULL)
    assert page(dataclasses.replace(FULL, generation=13)) != page(FULL)


def test_a_report_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TransientError, match="cannot be written"):
        write_report(tmp_path / "file" / "a.html", FULL)


def test_facts_as_json_hold_everything(full):
    facts = json.loads(facts_to_json(FULL))
    assert set(facts) == {field.name for field in dataclasses.fields(RunFacts)}
    assert facts["categories"][1]["counts"] == {"Hibernating": 3_053, "Champions": 1_319}
    assert facts["cut"] == [["", "f00d", 541_909]]
    assert facts["centres"]["rows"][1]["values"] == [182.66, 597.64]
    assert json.dumps(facts, ensure_ascii=False) in full.text
