"""A sealed generation's model for other tools."""

from __future__ import annotations

from headrace.errors import DefinitionError
from headrace.models.description import learner_from
from headrace.models.learner import Exportable
from headrace.registry.generations import Generation


def as_pmml(generation: Generation) -> bytes:
    """The fitted learner as PMML, by the archived definition: the same bytes whenever it is asked.

    Raises DefinitionError for a definition without a learner, and for a learner without PMML.
    """
    manifest, described = generation.manifest, generation.description()["learner"]
    what = f"generation {manifest.generation} of {manifest.definition!r} cannot be exported as PMML"
    if described is None:
        raise DefinitionError(what, found="a definition without a learner", expected="a fitted learner")
    learner = learner_from(described)
    if not isinstance(learner, Exportable):
        raise DefinitionError(
            what, found=f"learner {learner.kind!r}", expected="a learner with PMML", do="see docs/learners.md"
        )
    document = learner.pmml(generation.theta()["learner"])
    return document.to_bytes(manifest.definition, manifest.generation, manifest.code_version, manifest.created_at)
