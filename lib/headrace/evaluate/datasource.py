"""A data source: what each column is, told from its values, in a file to edit; the target picks the learner."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from headrace.errors import InputError, SchemaError, nearest
from headrace.models.expressions import column

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Kind = Literal["numeric", "categorical", "binary", "text"]
LEARNERS: Mapping[Kind, str] = {
    "binary": "logistic regression",
    "categorical": "multinomial logistic regression",
    "numeric": "linear regression",
}
_NUMERIC = ("tinyint", "smallint", "int", "bigint", "float", "double")
# A text is a category if it has at most so many values, and each on the average so often.
_CATEGORIES, _TIMES = 1_000, 5
TOP = 10
_DECILES = tuple(each / 10 for each in range(1, 10))


@dataclass(frozen=True)
class Column:
    """One column: its Spark type, and what it is taken for."""

    name: str
    type: str
    kind: Kind


@dataclass(frozen=True)
class DataSource:
    """Columns in their order, and which of them is to be told.

    >>> source = DataSource((Column("n", "int", "numeric"), Column("b", "boolean", "binary")), "b")
    >>> DataSource.of(source.to_toml()) == source, source.learner
    (True, 'logistic regression')
    """

    columns: tuple[Column, ...]
    target: str

    def __post_init__(self) -> None:
        names = [one.name for one in self.columns]
        if self.target not in names:
            raise InputError(
                "the target is no column of the data source",
                found=repr(self.target),
                expected=f"one of {names}",
                nearest=nearest(self.target, names),
            )
        if self.kind_of(self.target) == "text":
            raise InputError(
                f"the target {self.target!r} is text", expected=" or ".join(LEARNERS), do="change its kind in the file"
            )

    def kind_of(self, name: str) -> Kind:
        return next(one.kind for one in self.columns if one.name == name)

    @property
    def learner(self) -> str:
        """What tells such a target."""
        return LEARNERS[self.kind_of(self.target)]

    def to_toml(self) -> str:
        """The file that people edit."""
        lines = [
            "# What each column is: numeric, categorical, binary or text. Edit kinds and target.",
            f"target = {json.dumps(self.target)}",
        ]
        for one in self.columns:
            lines += ["", f"[columns.{json.dumps(one.name)}]", f'type = "{one.type}"', f'kind = "{one.kind}"']
        return "\n".join(lines) + "\n"

    @classmethod
    def of(cls, text: str) -> DataSource:
        """What a file says. Raises InputError, with the nearest, for what means nothing."""
        try:
            told = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InputError("the file of a data source is not TOML", found=str(error)) from None
        _known(told, ("target", "columns"), "the file of a data source")
        columns = []
        for name, one in told.get("columns", {}).items():
            _known(one, ("type", "kind"), f"column {name!r} of a data source")
            if one.get("kind") not in get_args(Kind):
                raise InputError(
                    f"column {name!r} of a data source has no such kind",
                    found=repr(one.get("kind")),
                    expected=" or ".join(get_args(Kind)),
                    nearest=nearest(str(one.get("kind")), get_args(Kind)),
                )
            columns.append(Column(name, str(one.get("type")), one["kind"]))
        return cls(tuple(columns), str(told.get("target")))

    def require(self, rows: DataFrame) -> None:
        """SchemaError, by name, for a column of other rows that is missing, further or of another type."""
        found, expected = dict(rows.dtypes), {one.name: one.type for one in self.columns}
        for name in (*expected, *found):
            if found.get(name) != expected.get(name):
                raise SchemaError(
                    f"column {name!r} is not what the data source says",
                    found=found.get(name, "no such column"),
                    expected=expected.get(name, "no such column"),
                    nearest=None if name in found else nearest(name, found),
                    do="make the data source anew if that is meant",
                )


def inferred(rows: DataFrame, target: str) -> DataSource:
    """What the columns of rows seem to be.

    A boolean, or a number or text of two values: binary. Another number: numeric. A text of few values that come
    again and again: categorical. Anything else: text. Reads the rows once.
    Raises InputError for no rows, a target that is no column, or one of a single value.
    """
    from pyspark.sql import functions as F

    asked = [F.count(F.lit(1)).alias("rows")]
    for place, name in enumerate(rows.columns):
        asked += [F.count(column(name)).alias(f"n{place}"), F.count_distinct(F.col(column(name))).alias(f"d{place}")]
    seen = rows.agg(*asked).first()
    assert seen is not None  # noqa: S101 - an aggregate without keys has one row
    if not seen["rows"]:
        raise InputError("the data source has no row")
    columns = tuple(
        Column(name, kind, _kind(kind, seen[f"n{place}"], seen[f"d{place}"]))
        for place, (name, kind) in enumerate(rows.dtypes)
    )
    source = DataSource(columns, target)
    if seen[f"d{rows.columns.index(target)}"] < 2:
        raise InputError(f"the target {target!r} has one value in every row", do="choose another target")
    return source


def statistics(source: DataSource, rows: DataFrame) -> list[dict[str, Any]]:
    """One object a column: name, kind, count, missing, distinct; of numbers min, max, mean, deciles and correlation
    with a numeric target; and the most frequent values.

    Reads the rows once, and once more a column: persist them. Correlation is Pearson's, null where either is constant.
    """
    return [_column_statistics(one, source, rows) for one in source.columns]


def _column_statistics(one: Column, source: DataSource, rows: DataFrame) -> dict[str, Any]:
    from pyspark.sql import functions as F

    value = F.col(column(one.name))
    asked = [F.count(F.lit(1)).alias("rows"), F.count(value).alias("count"), F.count_distinct(value).alias("distinct")]
    numeric = _is_number(one.type) or one.type == "boolean"
    if numeric:
        plain, told = value.cast("double"), F.col(column(source.target))
        asked += [F.min(plain).alias("min"), F.max(plain).alias("max"), F.avg(plain).alias("mean")]
        asked.append(F.percentile(plain, F.array(*map(F.lit, _DECILES))).alias("deciles"))
        target = next(each for each in source.columns if each.name == source.target)
        if one.name != source.target and (_is_number(target.type) or target.type == "boolean"):
            both = F.when(told.isNotNull(), plain), F.when(value.isNotNull(), told.cast("double"))
            asked.append(F.array(F.covar_pop(*both), *map(F.stddev_pop, both)).alias("correlation"))
    seen = rows.agg(*asked).first()
    assert seen is not None  # noqa: S101 - an aggregate without keys has one row
    found = seen.asDict()
    missing = found.pop("rows") - found["count"]
    top = rows.where(value.isNotNull()).groupBy(value.cast("string").alias("value")).count()
    most = top.orderBy(F.col("count").desc(), "value").limit(TOP).collect()
    if "correlation" in found:
        found["correlation"] = _correlation(*found["correlation"])
    return {
        "name": one.name,
        "type": one.type,
        "kind": one.kind,
        "missing": missing,
        **found,
        "top": [{"value": row["value"], "rows": row["count"]} for row in most],
    }


def _correlation(together: float | None, one: float | None, other: float | None) -> float | None:
    # Spark's own divides by zero where a column is constant.
    return together / (one * other) if together is not None and one and other else None


def _kind(type_: str, count: int, distinct: int) -> Kind:
    if type_ == "boolean" or distinct == 2:
        return "binary"
    if _is_number(type_):
        return "numeric"
    if type_ == "string" and distinct <= min(_CATEGORIES, count // _TIMES):
        return "categorical"
    return "text"


def _is_number(type_: str) -> bool:
    return type_ in _NUMERIC or type_.startswith("decimal")


def _known(told: Mapping[str, Any], keys: Sequence[str], what: str) -> None:
    for key in told:
        if key not in keys:
            raise InputError(
                f"{what} has a key that means nothing",
                found=repr(key),
                expected=", ".join(keys),
                nearest=nearest(key, keys),
            )
