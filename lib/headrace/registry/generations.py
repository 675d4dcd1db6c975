"""The registry's folders: numbers are claimed once, a manifest written last makes a generation readable."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from headrace.errors import RegistryError, nearest
from headrace.registry.manifest import Manifest
from headrace.stores.port import padded

MANIFEST = "manifest.json"
THETA = "theta.json"
DESCRIPTION = "definition.json"
STATE = "state"
MODEL = "model"


@dataclass(frozen=True)
class Generation:
    """A sealed generation whose files were checked against its manifest."""

    path: Path
    manifest: Manifest
    manifest_sha256: str

    def theta(self) -> dict[str, Any]:
        """Everything that was computed from more than one entity, for the scorer."""
        return _json(self.path / THETA)

    def description(self) -> dict[str, Any]:
        """The archived definition."""
        return _json(self.path / DESCRIPTION)

    @property
    def state_path(self) -> Path:
        """Parquet, one row an entity: entity, state, outputs, features, prediction."""
        return self.path / STATE


@dataclass(frozen=True)
class Draft:
    """A claimed number and its folder, which nobody reads before `seal`."""

    definition: str
    generation: int
    path: Path

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        (self.path / name).write_text(json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n", "utf-8")

    def seal(self, facts: Callable[[dict[str, str]], Manifest]) -> Generation:
        """Hash every file, write the manifest that `facts` makes of the hashes, last and atomically."""
        files = {
            str(file.relative_to(self.path)): _sha256(file)
            for file in sorted(self.path.rglob("*"))
            if file.is_file() and not file.name.endswith(".crc")
        }
        manifest = facts(files)
        text = manifest.model_dump_json(indent=1) + "\n"
        part = self.path / f"{MANIFEST}.part"
        with part.open("w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        part.replace(self.path / MANIFEST)
        return Generation(self.path, manifest, hashlib.sha256(text.encode()).hexdigest())


class Registry:
    """Generations of every definition under one root folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def claim(self, definition: str, above: int = 0) -> Draft:
        """A new number, greater than every number claimed here and than `above`; never given twice."""
        folder = self._root / definition
        folder.mkdir(parents=True, exist_ok=True)
        number = max([above, *self._numbers(definition)]) + 1
        while True:
            path = folder / padded(number)
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
                continue
            return Draft(definition, number, path)

    def sealed(self, definition: str) -> list[int]:
        """Numbers with a manifest, ascending; their files are checked by `load`."""
        return [g for g in self._numbers(definition) if (self._root / definition / padded(g) / MANIFEST).is_file()]

    def newest(self, definition: str) -> int:
        """The greatest sealed number; RegistryError where there is none."""
        sealed = self.sealed(definition)
        if not sealed:
            raise self._unsealed(definition)
        return sealed[-1]

    def definitions(self) -> list[str]:
        """Names with at least one claimed generation."""
        return sorted(path.name for path in self._root.iterdir() if path.is_dir()) if self._root.is_dir() else []

    def peek(self, definition: str, generation: int) -> Manifest:
        """The manifest alone, its files unchecked: for listings and for choosing what to `load`."""
        return self._manifest(definition, generation)[0]

    def load(self, definition: str, generation: int) -> Generation:
        """A sealed generation, every file checked; RegistryError names what is missing or damaged."""
        path = self._root / definition / padded(generation)
        manifest, text = self._manifest(definition, generation)
        for name in manifest.files:
            _require_undamaged(path, manifest, name)
        return Generation(path, manifest, hashlib.sha256(text.encode()).hexdigest())

    def parameters(self, definition: str, generation: int) -> tuple[Manifest, dict[str, Any]]:
        """The manifest and theta of a sealed generation; no other file is checked. Raises as `load`."""
        path = self._root / definition / padded(generation)
        manifest, _ = self._manifest(definition, generation)
        _require_undamaged(path, manifest, THETA)
        return manifest, _json(path / THETA)

    def state_path(self, definition: str, generation: int) -> Path:
        """Where `Generation.state_path` lies, unchecked: for samples, not for what is served."""
        return self._root / definition / padded(generation) / STATE

    def _manifest(self, definition: str, generation: int) -> tuple[Manifest, str]:
        file = self._root / definition / padded(generation) / MANIFEST
        if not file.is_file():
            raise self._unsealed(definition, generation)
        text = file.read_text("utf-8")
        try:
            manifest = Manifest.model_validate_json(text)
        except ValidationError as error:
            raise RegistryError(
                f"the manifest of generation {generation} of {definition!r} cannot be read",
                found=f"{error.error_count()} errors, the first: {error.errors()[0]['msg']}",
                do="train again, or restore the file",
            ) from error
        if (manifest.definition, manifest.generation) != (definition, generation):
            raise RegistryError(
                f"the manifest in {file.parent} belongs to another generation",
                found=f"{manifest.definition!r} {manifest.generation}",
                expected=f"{definition!r} {generation}",
            )
        return manifest, text

    def _unsealed(self, definition: str, generation: int | None = None) -> RegistryError:
        known = self.definitions()
        return RegistryError(
            f"there is no sealed generation{f' {generation}' if generation else ''} of {definition!r} in {self._root}",
            found=f"sealed: {self.sealed(definition) or 'none'}",
            nearest=None if definition in known else nearest(definition, known),
            do=f"train one: headrace train {definition}",
        )

    def _numbers(self, definition: str) -> list[int]:
        folder = self._root / definition
        if not folder.is_dir():
            return []
        return sorted(int(path.name) for path in folder.iterdir() if path.is_dir() and path.name.isdigit())


def _require_undamaged(path: Path, manifest: Manifest, name: str) -> None:
    file, expected, generation = path / name, manifest.files[name], manifest.generation
    found = _sha256(file) if file.is_file() else "no file"
    if found != expected:
        raise RegistryError(
            f"generation {generation} of {manifest.definition!r} is damaged: {name} does not match its manifest",
            found=found[:16],
            expected=expected[:16],
            do="train again, or restore the file; the damaged generation is never served from",
        )


def _json(file: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return value


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
