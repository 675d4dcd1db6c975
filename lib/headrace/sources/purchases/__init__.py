"""Seeded purchases with the columns and quirks of UCI Online Retail, at any scale."""

from headrace.sources.purchases.files import write_purchases

__all__ = ["write_purchases"]
