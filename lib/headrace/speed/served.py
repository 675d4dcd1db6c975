"""The generation that readers are served, for code that works on it."""

from __future__ import annotations

from headrace.config import Settings
from headrace.definitions import Definition
from headrace.errors import AnswerIsNo
from headrace.registry import Generation, Registry
from headrace.registry.manifest import require_same
from headrace.stores.port import Champion


def nothing_served(definition: str) -> AnswerIsNo:
    """What is said before the first promotion."""
    return AnswerIsNo(f"nothing is served for {definition!r} yet", do=f"run it first: headrace run {definition}")


def generation_served(settings: Settings, definition: Definition, champion: Champion, do: str = "") -> Generation:
    """The champion's sealed generation; `do`: what else may be done when it is of another definition.

    Raises AnswerIsNo where nothing is served yet, DefinitionError when the definition is not the champion's.
    """
    name = definition.name
    if not champion.generation:
        raise nothing_served(name)
    generation = Registry(settings.registry).load(name, champion.generation)
    train = f"train and promote a generation of it first (headrace run {name})"
    require_same(definition, generation.manifest, train + do)
    return generation
