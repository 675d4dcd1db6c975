"""Columns and positions: what an event looks like and where it stands in its log."""

from headrace.schemas.fields import Field, Schema
from headrace.schemas.positions import HISTORY, META_COLUMNS, Vector

__all__ = ["HISTORY", "META_COLUMNS", "Field", "Schema", "Vector"]
