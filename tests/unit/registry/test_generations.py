"""Numbers are claimed once; what is not sealed, or not what was sealed, is never loaded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import RegistryError
from headrace.registry import Draft, Generation, Manifest, Registry

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def _seal(draft: Draft, **other: Any) -> Generation:
    draft.write_json("theta.json", {"learner": None})
    (draft.path / "state").mkdir()
    (draft.path / "state" / "part-0.parquet").write_bytes(b"rows")

    def facts(files: dict[str, str]) -> Manifest:
        values: dict[str, Any] = {
            "generation": draft.generation, "definition": draft.definition, "base": None, "stream": "orders",
            "delta_version": 3, "cut": [["", "f", 9]], "as_of": NOW, "reference": NOW, "clock": "cut",
            "max_age_s": None, "types": {}, "schema_sha256": "s", "definition_sha256": "d", "code_version": "0",
            "seed": 7, "fingerprint": "p", "rows": 9, "entities": 1, "metrics": {}, "settings": {},
            "created_at": NOW, "files": files,
        }  # fmt: skip
        return Manifest(**{**values, **other})

    return draft.seal(facts)


def test_a_sealed_generation_loads_as_it_was_sealed(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    sealed = _seal(registry.claim("spend"))
    loaded = registry.load("spend", 1)
    assert loaded == sealed
    assert loaded.theta() == {"learner": None}
    assert set(loaded.manifest.files) == {"theta.json", "state/part-0.parquet"}
    assert registry.sealed("spend") == [1]


def test_an_unsealed_generation_is_not_there(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.claim("spend").write_json("theta.json", {})
    assert registry.sealed("spend") == []
    with pytest.raises(RegistryError, match=r"no sealed generation 1 of 'spend'.*headrace train spend"):
        registry.load("spend", 1)


def test_numbers_are_never_given_twice(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: registry.claim("spend").generation, range(40)))
    assert sorted(claimed) == list(range(1, 41))
    assert registry.claim("spend", above=99).generation == 100
    assert registry.claim("spend", above=5).generation == 101
    assert registry.claim("other").generation == 1


@pytest.mark.parametrize("harm", ["change", "remove", "truncate"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, harm: str) -> None:
    registry = Registry(tmp_path)
    file = _seal(registry.claim("spend")).path / "state" / "part-0.parquet"
    if harm == "change":
        file.write_bytes(b"rowz")
    elif harm == "remove":
        file.unlink()
    else:
        file.write_bytes(b"")
    with pytest.raises(RegistryError, match=r"damaged: state/part-0.parquet does not match"):
        registry.load("spend", 1)


def test_a_manifest_that_is_half_written_or_foreign_is_refused(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    manifest = _seal(registry.claim("spend")).path / "manifest.json"
    whole = manifest.read_text("utf-8")
    manifest.write_text(whole[: len(whole) // 2], "utf-8")
    with pytest.raises(RegistryError, match="cannot be read"):
        registry.load("spend", 1)
    manifest.write_text(whole.replace('"definition": "spend"', '"definition": "sales"'), "utf-8")
    with pytest.raises(RegistryError, match="belongs to another generation"):
        registry.load("spend", 1)


def test_an_unknown_definition_names_the_nearest(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    _seal(registry.claim("segments"))
    with pytest.raises(RegistryError, match="nearest 'segments'"):
        registry.load("segmets", 1)
