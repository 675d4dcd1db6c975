"""Columns and positions: what an event looks like and where it stands in its log."""

from headrace.schemas.fields import MAX_ENTITY_BYTES, MAX_TEXT_BYTES, Field, Schema
from headrace.schemas.positions import HISTORY, META_COLUMNS, Vector

__all__ = ["HISTORY", "MAX_ENTITY_BYTES", "MAX_TEXT_BYTES", "META_COLUMNS", "Field", "Schema", "Vector"]
