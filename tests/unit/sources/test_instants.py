"""Event times are read without Spark as Spark reads them, and what cannot be read so is refused by name."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from headrace.errors import DefinitionError
from headrace.schemas import Field
from headrace.sources.instants import instant_reader
from headrace.sources.typed import value

PATTERNS = [
    "M/d/yyyy H:mm",
    "yyyy-MM-dd HH:mm:ss",
    "yyyyMMdd",
    "dd.MM.yy",
    "yyyy-MM-dd'T'HH:mm:ss",
    "d 'o''clock' H yyyy M",
]


SPELLINGS = [
    "{1}/{2}/{0} {3}:{4}", "{0}-{1}-{2} {3}:{4}:{5}", "{0}-{1}-{2}T{3}:{4}:{5}", "{0}{1}{2}", "{0}-{1}-{2}",
    "{2}.{1}.{0}", "{2} o'clock {3} {0} {1}", "{0}-{1}-{2}T{3}:{4}:{5}.25Z", "{0}-{1}-{2} {3}:{4}:{5}+02:00", "{3}:{4}",
]  # fmt: skip
FITTING = dict(zip([*PATTERNS, ""], [SPELLINGS[n] for n in (0, 1, 3, 5, 2, 6, 4)], strict=True))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("yyyy-MM-dd HH:mm:ss.SSS", "'SSS'"),
        ("MMM d yyyy", "'MMM'"),
        ("yyyy-MM-dd h:mm a", "'h'"),
        ("yyyyy-MM", "'yyyyy'"),
        ("yyyy[-MM]", r"'\['"),
        ("yyyy-MM-dd yyyy", "one letter in two places"),
        ("yyyy-MM-dd'T", '"\'"'),
    ],
)
def test_other_letters_are_refused_by_name(pattern, found):
    with pytest.raises(
        DefinitionError, match=f"the format .* of column 'at' cannot be read without Spark; found .*{found}"
    ):
        instant_reader(Field("at", "timestamp", format=pattern))


def test_formats_are_tried_in_order():
    read = instant_reader(Field("at", "timestamp", format=("M/d/yyyy H:mm", "yyyy-MM-dd HH:mm:ss")))
    assert read(" 12/1/2010 8:26") == datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
    assert read("2010-12-01 08:26:59") == datetime(2010, 12, 1, 8, 26, 59, tzinfo=UTC)
    assert read("12/1/2010 8:26:00") is None
    assert read("") is None


@pytest.mark.spark
def test_spark_agrees(spark):
    noise = random.Random(4)
    cases = []
    for pattern in (*PATTERNS, ""):
        for _ in range(150):
            year, rest = (
                noise.choice([2010, 10, 1, 99999, 0]),
                [noise.randrange(0, top) for top in (14, 33, 25, 61, 61)],
            )
            spell = noise.choice(["{}", "{:02}"])
            at = [f"{year:04}" if noise.random() < 0.8 else str(year), *(spell.format(part) for part in rest)]
            text = noise.choice([*SPELLINGS, *([FITTING[pattern]] * 10)]).format(*at)
            cases.append((pattern, noise.choice(["", "", " "]) + text))
    differing, read_at_all = [], 0
    for pattern in (*PATTERNS, ""):
        field = Field("at", "timestamp", format=pattern or ())
        texts = [text for own, text in cases if own == pattern]
        frame = spark.createDataFrame([(text,) for text in texts], "text string")
        theirs = (
            frame.select("text", value(field, frame["text"]).alias("at"))
            .selectExpr("text", "unix_micros(at)")
            .collect()
        )
        ours = map(instant_reader(field), texts)
        for (text, micros), instant in zip(theirs, ours, strict=True):
            mine = None if instant is None else round(instant.timestamp() * 1_000_000)
            read_at_all += mine is not None
            # Python counts no year 0 and none after 9999, which are out of range of the lake as well.
            if mine != micros and not (mine is None and ("99999" in text or "0000" in text)):
                differing.append((pattern, text, mine, micros))
    assert differing == []
    assert read_at_all > 100
