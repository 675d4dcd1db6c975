"""TICKIT, the sample warehouse of ticket sales: tables made from a seed, loaded into a database, and queried."""

from headrace.sources.tickit.stage import staged

__all__ = ["staged"]
