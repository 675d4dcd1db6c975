"""The feature that divides one feature by another: Ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from headrace.algebra.aggregate import Clock, State, Types
from headrace.algebra.folded import Folded, require_folded
from headrace.errors import DefinitionError

if TYPE_CHECKING:
    from pyspark.sql import Column


@dataclass(frozen=True)
class Ratio(Folded):
    """`numerator` divided by `denominator`, such as a click-through rate, float64.

    Smoothed as if `weight` more units had been in the denominator at the rate `prior`:
    (numerator + weight * prior) / (denominator + weight), the m-estimate of Cestnik, "Estimating probabilities"
    (ECAI 1990), which for counts is the mean of a Beta(weight * prior, weight * (1 - prior)) prior updated by them.
    So an entity without events has the prior where there is a weight, and null where there is none.

    Null where a part is null, where what is divided by is 0, and where the ratio is no finite double. A part that is
    no number is refused (DefinitionError); a windowed ratio is `Window(Ratio(...), ...)`.
    State: {"denominator", "numerator"}, the states of both.

    >>> from headrace.algebra import Count
    >>> rate = Ratio(Count(), Count(), prior=0.02, weight=50.0)
    >>> rate.merge(rate.lift({}, {}), rate.empty())
    {'denominator': 1, 'numerator': 1}
    """

    numerator: Folded
    denominator: Folded
    prior: float = 0.0
    weight: float = 0.0

    def __post_init__(self) -> None:
        require_folded(self.numerator, "Ratio")
        require_folded(self.denominator, "Ratio")
        usable = all(
            isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)
            for given in (self.prior, self.weight)
        )
        if not usable or self.weight < 0 or (self.prior != 0 and self.weight == 0):
            raise DefinitionError(
                "the smoothing of a Ratio is not usable",
                found=f"prior {self.prior!r}, weight {self.weight!r}",
                expected="finite numbers, the weight positive, or neither",
            )

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.numerator.columns, *self.denominator.columns)))

    @property
    def _parts(self) -> dict[str, Folded]:
        return {"denominator": self.denominator, "numerator": self.numerator}

    def empty(self) -> State:
        return {name: part.empty() for name, part in self._parts.items()}

    def lift(self, event: Mapping[str, Any], types: Types) -> State:
        return {name: part.lift(event, types) for name, part in self._parts.items()}

    def merge(self, left: State, right: State) -> State:
        return {name: part.merge(left[name], right[name]) for name, part in self._parts.items()}

    # -- Spark --------------------------------------------------------------------------------
    def spark_lift(self, types: Types) -> Column:
        from pyspark.sql import functions as f

        return f.struct(*(part.spark_lift(types).alias(name) for name, part in self._parts.items()))

    def spark_fold(self, lifted: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        parts = self._parts.items()
        return f.struct(*(part.spark_fold(lifted.getField(name), types).alias(name) for name, part in parts))

    def spark_merge(self, state: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        parts = self._parts.items()
        return f.struct(*(part.spark_merge(state.getField(name), types).alias(name) for name, part in parts))

    # -- finish -------------------------------------------------------------------------------
    def arrow_type(self, types: Types) -> pa.DataType:
        return pa.struct([(name, part.arrow_type(types)) for name, part in self._parts.items()])

    def finish(self, states: pa.Array, clock: Clock, types: Types) -> pa.Array:
        known = np.ones(len(states), dtype=bool)
        values: dict[str, npt.NDArray[np.float64]] = {}
        for name, part in self._parts.items():
            finished = part.finish(pc.struct_field(states, name), clock, types)
            known &= np.asarray(finished.is_valid())
            values[name] = _numbers(name, finished)
        bottom = values["denominator"] + self.weight
        known &= bottom != 0
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite becomes null
            top = values["numerator"] + self.weight * self.prior
            ratios = np.divide(top, bottom, out=np.zeros(len(states)), where=known)
        return pa.array(ratios, pa.float64(), mask=~(known & np.isfinite(ratios)))

    def describe(self) -> dict[str, Any]:
        parts = {name: part.describe() for name, part in self._parts.items()}
        return {"kind": "ratio", **parts, "prior": self.prior, "weight": self.weight}


def _numbers(name: str, finished: pa.Array) -> npt.NDArray[np.float64]:
    if not (pa.types.is_integer(finished.type) or pa.types.is_floating(finished.type)):
        raise DefinitionError(
            f"the {name} of a Ratio is no number", found=str(finished.type), expected="a feature that is a number"
        )
    filled = finished.fill_null(0).to_numpy(zero_copy_only=False)
    numbers: npt.NDArray[np.float64] = filled.astype(np.float64)
    return numbers
