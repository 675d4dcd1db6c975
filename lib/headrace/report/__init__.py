"""What a run made, for people: a page with plots, a short table, and the same facts as JSON."""

from headrace.report.audit import write_audit
from headrace.report.comparison import write_comparison
from headrace.report.datasource import write_statistics
from headrace.report.evaluation import evaluation_headline, evaluation_summary, write_evaluation
from headrace.report.facts import (
    Category,
    Centre,
    Centres,
    Feature,
    Grid,
    Histogram,
    Published,
    RunFacts,
    facts_to_json,
)
from headrace.report.outputs import Outputs, centres_of, outputs_of
from headrace.report.page import write_report
from headrace.report.selection import selection_to_json, write_selection
from headrace.report.table import selection_summary, summary

__all__ = [
    "Category",
    "Centre",
    "Centres",
    "Feature",
    "Grid",
    "Histogram",
    "Outputs",
    "Published",
    "RunFacts",
    "centres_of",
    "evaluation_headline",
    "evaluation_summary",
    "facts_to_json",
    "outputs_of",
    "selection_summary",
    "selection_to_json",
    "summary",
    "write_audit",
    "write_comparison",
    "write_evaluation",
    "write_report",
    "write_selection",
    "write_statistics",
]
