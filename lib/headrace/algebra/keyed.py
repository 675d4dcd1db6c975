"""Features that keep one inner state per key, and how Spark collects and takes apart their states."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from headrace.algebra.aggregate import Aggregate, Types

if TYPE_CHECKING:
    from pyspark.sql import Column


class Keyed(Aggregate):
    """A feature whose state is one inner state per key of `spark_key`; a null key is not counted."""

    @abstractmethod
    def spark_key(self, types: Types) -> Column:
        """The key of an event: a token, a time bucket."""

    @abstractmethod
    def spark_inner(self, types: Types) -> Column:
        """events -> the inner state of one key, as an aggregate."""

    @abstractmethod
    def spark_inner_merge(self, inner: Column, types: Types) -> Column:
        """partial inner states of one key -> its inner state, as an aggregate."""

    @abstractmethod
    def spark_collect(self, key: Column, inner: Column, types: Types) -> Column:
        """One row per key of an entity -> state, as an aggregate; beyond the declared bound the job fails."""

    @abstractmethod
    def spark_entries(self, state: Column, types: Types) -> Column:
        """state -> array of struct(key, inner), the inverse of `spark_collect`."""
