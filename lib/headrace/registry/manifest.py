"""What a sealed generation says about itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from headrace.definitions import Definition
from headrace.definitions.archive import definition_sha256
from headrace.errors import DefinitionError


class Manifest(BaseModel):
    """The facts of one generation; everything in it is reproducible from the lake, the code and the seed.

    `base` is the generation whose cluster numbers were kept and that a publication may be diffed against.
    `cut` is a vector of next positions, `as_of` the latest arrival before it, `reference` the instant the
    learner's inputs were finished at. `fingerprint` is equal for two runs that must give equal generations.
    `gate` is the verdict of the definition's gate, `metrics["held_out"]` what it was made on.
    `files` maps each file's path in the generation's folder to its SHA-256.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = 1
    generation: int
    definition: str
    base: int | None
    stream: str
    delta_version: int
    cut: list[list[Any]]
    as_of: datetime
    reference: datetime
    clock: str
    max_age_s: float | None
    types: dict[str, str]
    schema_sha256: str
    definition_sha256: str
    code_version: str
    seed: int | None
    fingerprint: str
    rows: int
    entities: int
    metrics: dict[str, Any]
    gate: dict[str, Any] | None = None
    settings: dict[str, Any]
    created_at: datetime
    files: dict[str, str]


def require_same(definition: Definition, manifest: Manifest, do: str) -> None:
    """DefinitionError, advising `do`, when the definition is not the one a generation was trained with."""
    ours = definition_sha256(definition)
    if ours != manifest.definition_sha256:
        raise DefinitionError(
            f"definition {definition.name!r} changed since generation {manifest.generation} was trained",
            found=f"hash {ours[:16]}",
            expected=f"hash {manifest.definition_sha256[:16]}",
            do=do,
        )
