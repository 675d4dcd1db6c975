"""States by entity in Spark: from events, and from partial states; column expressions only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING

from headrace.algebra.aggregate import Aggregate, Types
from headrace.algebra.folded import Folded
from headrace.algebra.keyed import Keyed
from headrace.algebra.scalars import spark_column
from headrace.errors import DefinitionError, TerminalError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

ENTITY = "entity"
_KEY = "_key"


def states_by_entity(
    events: DataFrame, entity: str, features: Mapping[str, Aggregate], apart: Sequence[str] = ()
) -> DataFrame:
    """Prepared events -> one state per feature and entity.

    In: the columns the features read, the column `entity` (any type, read as text; null is not counted), and for
    the features that go by event time the lake's meta columns. apart: further columns whose values are kept apart.
    Out: `entity` string, not null, the key together with `apart`; one column per feature, its state of type
    `arrow_type`.
    Raises DefinitionError for a column that is missing or of a type the feature cannot read. The job itself fails
    with a refusal that `explain_overflow` names when a state outgrows its exact range or bound.
    Streams: batch only (a micro-batch is a batch frame).

    Features without a key are one hash aggregate. Those with a key are aggregated by (entity, key) first and then
    collected by entity; the others ride along in the first such pair, so that they need no pass of their own.
    """
    _check(events, features)
    types = dict(events.dtypes)
    counted = events.where(spark_column(entity).isNotNull())
    by = [spark_column(entity).cast("string").alias(ENTITY), *map(spark_column, apart)]
    plain = _plain(features)
    lifted = [feature.spark_aggregate(types).alias(name) for name, feature in plain.items()]
    groups = _by_key(features, types)
    if not groups:
        return counted.groupBy(*by).agg(*lifted)
    frames: list[DataFrame] = []
    for key, keyed in groups:
        inner = [feature.spark_inner(types).alias(name) for name, feature in keyed.items()]
        by_key = counted.groupBy(*by, key.alias(_KEY)).agg(*lifted, *inner)
        frames.append(by_key.groupBy(ENTITY, *apart).agg(*_merged(plain, types), *_collected(keyed, types)))
        plain, lifted = {}, []
    # Events with a null key stay in the groups, so every frame has every entity.
    return _joined(frames, features, apart)


def merge_states(states: DataFrame, features: Mapping[str, Aggregate], types: Types) -> DataFrame:
    """Partial states -> one state per feature and entity.

    In: what `states_by_entity` gives, with any number of rows per entity; `types` are those of the prepared events.
    Out: the same columns, one row per entity; the states of all its rows' events together.
    Raises, Streams: as `states_by_entity`.
    """
    _check(states, features)
    plain = _plain(features)
    frames = [states.groupBy(ENTITY).agg(*_merged(plain, types))] if plain else []
    for name, feature in features.items():
        if not isinstance(feature, Keyed):
            continue
        from pyspark.sql import functions as f

        # `explode_outer` keeps the entities without any key, so every frame has every entity.
        entries = states.select(ENTITY, f.explode_outer(feature.spark_entries(spark_column(name), types)).alias("e"))
        inner = feature.spark_inner_merge(f.col("e.inner"), types).alias(name)
        by_key = entries.groupBy(ENTITY, f.col("e.key").alias(_KEY)).agg(inner)
        frames.append(by_key.groupBy(ENTITY).agg(*_collected({name: feature}, types)))
    return _joined(frames, features)


def _check(frame: DataFrame, features: Mapping[str, Aggregate]) -> None:
    if not features or {ENTITY, _KEY} & set(features):
        raise DefinitionError(
            "the features are not usable",
            found=sorted(features) or "none",
            expected=f"at least one, none named {ENTITY!r} or {_KEY!r}",
        )
    if frame.sparkSession.conf.get("spark.sql.ansi.enabled") != "true":
        raise TerminalError(
            "exact sums need a session that fails on overflow",
            found="spark.sql.ansi.enabled=false",
            expected="true",
            do="open the session with headrace.session.open_session",
        )


def _plain(features: Mapping[str, Aggregate]) -> dict[str, Folded]:
    """The features that are not aggregated by key first; DefinitionError for one that is aggregated neither way."""
    plain: dict[str, Folded] = {}
    for name, feature in features.items():
        if isinstance(feature, Keyed):
            continue
        if not isinstance(feature, Folded):
            raise DefinitionError(
                f"feature {name!r} has no Spark carrier", found=type(feature).__name__, expected="Folded or Keyed"
            )
        plain[name] = feature
    return plain


def _by_key(features: Mapping[str, Aggregate], types: Types) -> list[tuple[Column, dict[str, Keyed]]]:
    """Keyed features together with those of the same key expression, in order of first use."""
    groups: dict[str, tuple[Column, dict[str, Keyed]]] = {}
    for name, feature in features.items():
        if isinstance(feature, Keyed):
            key = feature.spark_key(types)
            groups.setdefault(str(key), (key, {}))[1][name] = feature
    return list(groups.values())


def _merged(features: Mapping[str, Folded], types: Types) -> list[Column]:
    return [feature.spark_merge(spark_column(name), types).alias(name) for name, feature in features.items()]


def _collected(features: Mapping[str, Keyed], types: Types) -> list[Column]:
    key = spark_column(_KEY)
    return [feature.spark_collect(key, spark_column(name), types).alias(name) for name, feature in features.items()]


def _joined(frames: Sequence[DataFrame], features: Mapping[str, Aggregate], apart: Sequence[str] = ()) -> DataFrame:
    whole = reduce(lambda left, right: left.join(right, on=[ENTITY, *apart], how="inner"), frames)
    return whole.select(ENTITY, *apart, *(spark_column(name) for name in features))
