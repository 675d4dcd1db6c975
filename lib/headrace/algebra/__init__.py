"""Features as mergeable aggregates, exact in any order and split, with a plain-Python and a Spark carrier."""

from headrace.algebra.additive import Count, Mean, Sum
from headrace.algebra.aggregate import Aggregate, Clock, State, Types
from headrace.algebra.bounds import explain_overflow
from headrace.algebra.conditional import Where
from headrace.algebra.decay import Decay
from headrace.algebra.description import from_description
from headrace.algebra.distinct import CountDistinct
from headrace.algebra.elapsed import DaysSince
from headrace.algebra.encoding import decode, encode
from headrace.algebra.extremes import Max, Min
from headrace.algebra.folded import Folded
from headrace.algebra.keyed import Keyed
from headrace.algebra.latest import Last
from headrace.algebra.ratio import Ratio
from headrace.algebra.recent import LastN
from headrace.algebra.sessions import Sessions
from headrace.algebra.spark import merge_states, states_by_entity
from headrace.algebra.windows import Window

__all__ = [
    "Aggregate",
    "Clock",
    "Count",
    "CountDistinct",
    "DaysSince",
    "Decay",
    "Folded",
    "Keyed",
    "Last",
    "LastN",
    "Max",
    "Mean",
    "Min",
    "Ratio",
    "Sessions",
    "State",
    "Sum",
    "Types",
    "Where",
    "Window",
    "decode",
    "encode",
    "explain_overflow",
    "from_description",
    "merge_states",
    "states_by_entity",
]
