"""Generations: claimed, sealed with a manifest of checksums, and loaded only when whole."""

from headrace.registry.generations import Draft, Generation, Registry
from headrace.registry.manifest import Manifest

__all__ = ["Draft", "Generation", "Manifest", "Registry"]
