"""What the hash of a definition sees, and what it does not."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.algebra import Count, Sum
from headrace.definitions import CUT, Definition, Field, Schema, Stream, Table, fixed, load_definition
from headrace.definitions.archive import definition_sha256, describe, description_sha256, features_from, normalised
from headrace.errors import DefinitionError
from headrace.models.kmeans import KMeans
from headrace.transforms.derivation import Derivation, no_parameters

MINE = '''
"""Shops."""
from headrace import Count, Definition, Derivation, Field, Schema, Stream
from headrace.transforms.derivation import no_parameters

FLOOR = 10


def large(sales):
    """Keep large sales."""
    from pyspark.sql import functions as F

    # Small ones are noise.
    return sales.withColumn("drop_reason", F.when(F.col("amount") < FLOOR, "small"))


def rank(columns, parameters):
    return {"is_big": columns["sales"] > 3}


SALE = Schema([Field("shop", "string"), Field("sold_at", "timestamp"), Field("amount", "double")])
spend = Definition(
    name="spend", entity="shop", event_time="sold_at", source=Stream("sales", schema=SALE),
    features={"sales": Count()}, prepare=large, derive=Derivation(no_parameters, rank, ("is_big",)),
)
'''

SALE = Schema([Field("shop", "string"), Field("sold_at", "timestamp"), Field("amount", "double")])
SPEND = Definition(
    name="spend",
    entity="shop",
    event_time="sold_at",
    source=Stream("sales", schema=SALE),
    features={"sales": Count(), "spent": Sum("amount", step="0.01")},
)


def keep(sales: Any) -> Any:
    return sales


def above(floor: Any) -> Callable[[Any], Any]:
    def only(sales: Any) -> Any:
        return sales.where(f"amount > {floor}")

    return only


def at_least(sales: Any, *, floor: float) -> Any:
    return sales.where(f"amount >= {floor}")


@pytest.fixture
def of_file(tmp_path: Path) -> Iterator[Callable[[str], Definition]]:
    def load(text: str) -> Definition:
        path = tmp_path / "shops_of_test_archive.py"
        path.write_text(text, "utf-8")
        return load_definition(f"{path}:spend")

    yield load
    sys.modules.pop("shops_of_test_archive", None)


def test_it_is_json_with_the_source_of_what_it_runs() -> None:
    segments = load_definition("segments")
    described = describe(segments)
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    assert sorted(described["code"]) == ["headrace.transforms.retail", "headrace.transforms.rfm"]
    assert "def clean(" in described["code"]["headrace.transforms.retail"]
    assert description_sha256(json.loads(json.dumps(described))) == definition_sha256(segments)
    assert segments.describe() == described


def test_features_come_back_equal_and_in_order() -> None:
    for definition in (load_definition("segments"), SPEND):
        back = features_from(json.loads(json.dumps(describe(definition), sort_keys=True)))
        assert list(back.items()) == list(definition.features.items())


def test_where_it_was_loaded_from_does_not_matter() -> None:
    from headrace.definitions.segments import segments

    assert definition_sha256(segments) == definition_sha256(load_definition("segments"))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"entity": "amount"},
        {"event_id": "shop"},
        {"zone": "Europe/Paris"},
        {"max_age": timedelta(seconds=5)},
        {"clock": fixed("2020-01-01")},
        {"source": Stream("returns", schema=SALE)},
        {"source": Stream("sales", schema=SALE, history=Table("t"))},
        {"source": Stream("sales", schema=Schema([*SALE, Field("till", "int")]))},
        {"source": Stream("sales", schema=Schema([Field("shop", "string", values=("north",)), *[*SALE][1:]]))},
        {"features": {"sales": Count()}},
        {"features": {"spent": Sum("amount", step="0.01"), "sales": Count()}},
        {"features": {"sales": Count(), "spent": Sum("amount", step="0.1")}},
        {"learner": KMeans(3)},
        {"prepare": keep},
        {"derive": Derivation(no_parameters, keep, ("x",))},
    ],
)
def test_a_changed_field_changes_the_hash(change: dict[str, Any]) -> None:
    assert definition_sha256(replace(SPEND, clock=CUT)) == definition_sha256(SPEND)
    assert definition_sha256(replace(SPEND, **change)) != definition_sha256(SPEND)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("FLOOR = 10", "FLOOR = 11"),
        ('F.col("amount") < FLOOR', 'F.col("amount") <= FLOOR'),
        ('columns["sales"] > 3', 'columns["sales"] > 4'),
        ("prepare=large, ", ""),
    ],
)
def test_a_changed_threshold_or_step_changes_the_hash(
    of_file: Callable[[str], Definition], before: str, after: str
) -> None:
    first = definition_sha256(of_file(MINE))
    assert definition_sha256(of_file(MINE.replace(before, after))) != first


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# Small ones are noise.", "# Small ones are noise, and many."),
        ('"""Keep large sales."""', '"""Keep the large sales."""'),
        ("FLOOR = 10", "FLOOR    =  (\n    10\n)"),
        ('"""Shops."""', ""),
    ],
)
def test_comments_docstrings_and_layout_do_not(of_file: Callable[[str], Definition], before: str, after: str) -> None:
    first = definition_sha256(of_file(MINE))
    assert before in MINE
    assert definition_sha256(of_file(MINE.replace(before, after))) == first


def test_the_file_of_a_definition_is_archived_even_if_it_defines_no_function(
    of_file: Callable[[str], Definition],
) -> None:
    text = MINE.replace('prepare=large, derive=Derivation(no_parameters, rank, ("is_big",)),', "")
    assert "FLOOR = 10" in describe(of_file(text))["code"]["shops_of_test_archive"]


def test_what_was_loaded_is_archived_even_if_the_file_changed_since(
    of_file: Callable[[str], Definition], tmp_path: Path
) -> None:
    spend = of_file(MINE)
    before = definition_sha256(spend)
    (tmp_path / "shops_of_test_archive.py").write_text("FLOOR = 99", "utf-8")
    assert definition_sha256(spend) == before


def test_values_that_a_function_holds_count() -> None:
    hashes = {
        definition_sha256(replace(SPEND, prepare=prepare))
        for prepare in (
            above(1),
            above(2),
            above([1, {"a": None}]),
            functools.partial(at_least, floor=1),
            functools.partial(at_least, floor=2),
        )
    }
    assert len(hashes) == 5
    assert definition_sha256(replace(SPEND, prepare=above(1))) in hashes


def test_what_cannot_be_archived_is_refused() -> None:
    with pytest.raises(DefinitionError, match="prepare holds a value that cannot be archived; found object"):
        describe(replace(SPEND, prepare=above(object())))
    with pytest.raises(DefinitionError, match="prepare cannot be archived; found type; expected a function"):
        describe(replace(SPEND, prepare=dict))
    nowhere: dict[str, Any] = {"__name__": "nowhere_at_all"}
    unknown = type(keep)(keep.__code__, nowhere)
    with pytest.raises(DefinitionError, match="no source of module 'nowhere_at_all'"):
        describe(replace(SPEND, prepare=unknown))


def test_normalised_source_still_runs_alike() -> None:
    source = 'class A:\n    "Doc."\n\n    def f(self):\n        "Doc."\n\n\ndef g():\n    return "kept"  # why\n'
    assert normalised(source) == "class A:\n\n    def f(self):\n        pass\n\ndef g():\n    return 'kept'"
