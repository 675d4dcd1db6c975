"""A definition drafted from a data source: a file that loads as it reads, whatever the columns are named."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.batch.datasource import require_writable
from headrace.definitions import Definition, Splitting, load_definition
from headrace.definitions.draft import drafted
from headrace.errors import InputError
from headrace.evaluate.datasource import Column, DataSource
from headrace.models.encoded import Encoded
from headrace.models.encoding import Number, OneHot

NASTY = 'x"); import os #'
COLUMNS = (
    Column("at", "timestamp", "text"),
    Column("station", "int", "numeric"),
    Column("temp", "double", "numeric"),
    Column("Wind Speed", "double", "numeric"),
    Column("wind_speed", "float", "numeric"),
    Column("weathersit", "int", "categorical"),
    Column("workingday", "boolean", "binary"),
    Column(NASTY, "double", "numeric"),
    Column('"""\nimport os\n', "string", "text"),
    Column("city", "string", "categorical"),
    Column("same", "int", "numeric"),
    Column("_c11", "int", "numeric"),
    Column("drop_reason", "string", "text"),
    Column("nested", "struct<a\nimport os:int>", "text"),
    Column("cnt", "int", "numeric"),
)
RIDES = DataSource(COLUMNS, "cnt")
Loaded = Callable[..., Definition]


def statistics(source: DataSource, **special: dict[str, Any]) -> list[dict[str, Any]]:
    plain: dict[str, Any] = {"count": 100, "missing": 0, "distinct": 10, "min": 1.0, "max": 10.0, "top": []}
    own: dict[str, dict[str, Any]] = {"temp": {"missing": 3}, "same": {"distinct": 1}, **special}
    return [{"name": one.name, "type": one.type, **plain, **own.get(one.name, {})} for one in source.columns]


def text_of(source: DataSource = RIDES, name: str = "rides", **other: Any) -> str:
    asked = {"entity": "station", "event_time": "at", "form": "csv", "file": "rides.csv", **other}
    told = asked.pop("statistics", None) or statistics(source)
    return drafted(source, told, name=name, **asked)


@pytest.fixture
def loaded(tmp_path: Path) -> Iterator[Loaded]:
    def load(text: str, name: str) -> Definition:
        (tmp_path / f"{name}.py").write_text(text, "utf-8")
        return load_definition(f"{tmp_path / name}.py:{name}")

    yield load
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_a_draft_loads_as_what_it_says(loaded: Loaded) -> None:
    rides = loaded(text_of(file="ri\ndes.csv"), "rides")
    assert (rides.name, rides.entity, rides.event_time, rides.target) == ("rides", "station", "at", "cnt")
    assert rides.learner == Encoded(
        (
            Number("temp", impute="median"),
            Number("wind_speed_2"),
            Number("wind_speed"),
            OneHot("weathersit"),
            Number("workingday"),
            Number("x_import_os"),
            OneHot("city"),
        )
    )
    assert rides.training == Splitting(0, 70)
    fields = {field.name: (field.type, field.aliases) for field in rides.source.schema}
    assert fields["wind_speed_2"] == ("double", ("Wind Speed",))
    assert fields["wind_speed"] == ("double", ())
    assert fields["x_import_os"] == ("double", (NASTY,))
    assert fields["import_os"] == ("string", ('"""\nimport os\n',))
    assert fields["drop_reason_2"] == ("string", ("drop_reason",))
    assert not {"nested", "c11"} & set(fields)
    assert not hasattr(sys.modules["rides"], "os")


def test_a_draft_says_what_it_left_out() -> None:
    left = [line.strip() for line in text_of().splitlines() if line.strip().startswith("# left out")]
    assert left == [
        "# left out: " + repr('"""\nimport os\n') + " (text, string): no number and no category",
        "# left out: 'same': one value in every row",
        "# left out: '_c11': no field has its name, or its type 'int'",
        "# left out: 'drop_reason' (text, string): no number and no category",
        r"# left out: 'nested': no field has its name, or its type 'struct<a\nimport os:int>'",
    ]


@pytest.mark.parametrize(
    ("target", "found", "classes"),
    [
        ("workingday", {"distinct": 2, "min": 0.0, "max": 1.0}, 2),
        ("weathersit", {"distinct": 4, "min": 0.0, "max": 3.0}, 4),
    ],
)
def test_the_target_picks_the_model(loaded: Loaded, target: str, found: dict[str, Any], classes: int) -> None:
    source = replace(RIDES, target=target)
    made = loaded(
        text_of(source, name=f"of_{target}", statistics=statistics(source, **{target: found})), f"of_{target}"
    )
    assert isinstance(made.learner, Encoded)
    assert (made.learner.model, made.learner.classes, made.target) == ("logistic", classes, target)


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("city", {"distinct": 2, "top": [{"value": "no"}, {"value": "yes"}]}),
        ("weathersit", {"distinct": 3, "min": 1.0, "max": 3.0, "top": [{"value": "1"}]}),
        ("weathersit", {"distinct": 3, "min": 0.0, "max": 3.0, "top": [{"value": "1"}]}),
    ],
)
def test_classes_that_are_no_numbers_from_0_are_named(target: str, found: dict[str, Any]) -> None:
    source = replace(RIDES, target=target)
    with pytest.raises(InputError, match=rf"classes of the target '{target}' are not numbers from 0.*expected 0 to \d"):
        text_of(source, statistics=statistics(source, **{target: found}))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"entity": None}, r"which column is the entity; expected one of \['station', .*--entity NAME"),
        ({"entity": "staton"}, "cannot be the entity; found no such column; .*nearest 'station'"),
        ({"entity": "temp"}, "cannot be the entity; found of type double"),
        ({"entity": "cnt"}, "cannot be the entity; found the target"),
        ({"entity": "_c11"}, "cannot be the entity"),
        ({"event_time": None}, r"which column is the event-time; expected one of \['at', .*'city', 'drop_reason'\]"),
        ({"event_time": None, "form": "parquet"}, r"which column is the event-time; expected one of \['at'\]"),
        ({"event_time": "station"}, "cannot be the event-time; found of type int"),
        ({"event_time": "city", "form": "parquet"}, "cannot be the event-time; found of type string"),
    ],
)
def test_keys_and_times_that_cannot_be_are_named(other: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        text_of(**other)


def test_a_text_may_be_the_event_time_of_a_text_file(loaded: Loaded) -> None:
    made = loaded(text_of(name="by_text", event_time="city"), "by_text")
    assert made.source.schema.field("city").type == "timestamp"


def test_no_column_to_tell_by_is_named() -> None:
    source = DataSource(tuple(one for one in COLUMNS if one.name in ("at", "station", "drop_reason", "cnt")), "cnt")
    with pytest.raises(InputError, match="no column is left to tell the target by"):
        text_of(source)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("rides.txt", "is a Python file"),
        ("sales.py", "cannot have that name; found 'sales'"),
        ("class.py", "cannot have that name"),
        ("My-rides.py", "snake_case"),
        ("there.py", "is there already; .*--replace"),
        ("nowhere/rides.py", "there is no folder"),
    ],
)
def test_places_that_cannot_hold_one_are_named(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "there.py").write_text("mine = 1\n")
    with pytest.raises(InputError, match=says):
        require_writable(tmp_path / name, replace=False)
    assert require_writable(tmp_path / "there.py", replace=True) == "there"
    assert (tmp_path / "there.py").read_text() == "mine = 1\n"
