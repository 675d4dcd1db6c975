"""Use cases as definitions: what is counted, learned, derived and served for one kind of entity."""

from headrace.definitions.definition import CUT, READER, ClockRule, Definition, Stream, Table, fixed
from headrace.definitions.events import drop_reasons, marked, prepared
from headrace.definitions.finish import finish, outputs_json
from headrace.definitions.load import load_definition
from headrace.evaluate.gate import Gate
from headrace.evaluate.splitting import Splitting
from headrace.schemas import Field, Schema

__all__ = [
    "CUT",
    "READER",
    "ClockRule",
    "Definition",
    "Field",
    "Gate",
    "Schema",
    "Splitting",
    "Stream",
    "Table",
    "drop_reasons",
    "finish",
    "fixed",
    "load_definition",
    "marked",
    "outputs_json",
    "prepared",
]
