"""Features whose events Spark folds in one aggregate, so that other features can hold them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from headrace.algebra.aggregate import Aggregate, Types
from headrace.errors import DefinitionError

if TYPE_CHECKING:
    from pyspark.sql import Column


class Folded(Aggregate):
    """A feature whose state is one aggregate over what each event adds, whatever its key."""

    @abstractmethod
    def spark_lift(self, types: Types) -> Column:
        """What one event adds, an expression that is null for nothing."""

    @abstractmethod
    def spark_fold(self, lifted: Column, types: Types) -> Column:
        """What events add, by `spark_lift` -> state."""

    def spark_aggregate(self, types: Types) -> Column:
        """events -> state."""
        return self.spark_fold(self.spark_lift(types), types)

    @abstractmethod
    def spark_merge(self, state: Column, types: Types) -> Column:
        """partial states -> state."""


def require_folded(inner: object, what: str) -> None:
    """DefinitionError unless `what` can hold this feature."""
    if not isinstance(inner, Folded):
        raise DefinitionError(
            f"{what} cannot hold this feature",
            found=inner,
            expected="a feature folded in one aggregate: no feature that keeps time buckets or the latest values",
            do="put the feature that keeps them outside",
        )
