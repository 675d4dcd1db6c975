"""`headrace export`: what it writes, and what it refuses by name before it writes anything."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from headrace.cli import main
from headrace.models import description
from headrace.models.linear import LinearRegression
from headrace.registry import Manifest, Registry

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PARAMETERS = {
    "features": ["temp"], "target": "rides", "mean": [20.0], "scale": [5.0], "target_mean": 189.0,
    "target_scale": 181.0, "coefficients": [0.4], "intercept": 0.0, "contribution": {},
}  # fmt: skip


class Batch:
    """A learner of no other tool's."""

    kind = "batch_only"


@pytest.fixture
def export(tmp_path: Path, capsysbinary: Any) -> Any:
    """Runs the command on an own registry; gives code, stdout and stderr."""

    def run(*arguments: str) -> tuple[Any, bytes, str]:
        with pytest.raises(SystemExit) as stop:
            main(["export", *arguments, "--set", f"home={tmp_path / 'home'}"])
        out, err = capsysbinary.readouterr()
        return stop.value.code, out, err.decode()

    return run


def sealed(home: Path, learner: dict[str, Any] | None, intercept: float = 0.0) -> None:
    draft = Registry(home / "registry").claim("rides")
    draft.write_json("theta.json", {"learner": {**PARAMETERS, "intercept": intercept}})
    draft.write_json("definition.json", {"name": "rides", "learner": learner})

    def facts(files: dict[str, str]) -> Manifest:
        return Manifest(
            generation=draft.generation, definition="rides", base=None, stream="hours", delta_version=1, cut=[],
            as_of=NOW, reference=NOW, clock="cut", max_age_s=None, types={}, schema_sha256="s", definition_sha256="d",
            code_version="0.1.0", seed=None, fingerprint="p", rows=1, entities=1, metrics={}, settings={},
            created_at=NOW, files=files,
        )  # fmt: skip

    draft.seal(facts)


def test_the_newest_or_a_named_generation_to_stdout_or_a_file(tmp_path: Path, export: Any) -> None:
    for intercept in (0.25, 0.75):
        sealed(tmp_path / "home", LinearRegression(("temp",)).describe(), intercept)
    code, newest, _ = export("rides")
    assert (code, fromstring(newest)[2].get("modelName")) == (0, "rides")
    assert b'intercept="0.75"' in newest
    file = tmp_path / "rides.pmml"
    code, said, _ = export("rides", "--generation", "1", "--out", str(file), "--format", "pmml")
    older = file.read_bytes()
    assert (code, b'intercept="0.25"' in older) == (0, True)
    assert f"generation 1 of rides, {len(older):,} bytes".encode() in said.replace(b"\n", b" ")
    code, _, err = export("rides", "--out", str(file))
    assert (code, "is there already" in err, "--replace" in err, file.read_bytes()) == (2, True, True, older)
    assert export("rides", "--out", str(file), "--replace")[0] == 0
    assert file.read_bytes() == newest


def test_what_there_is_not_is_refused_by_name(tmp_path: Path, export: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    home, file = tmp_path / "home", tmp_path / "rides.pmml"
    sealed(home, None)
    sealed(home, {"kind": "batch_only"})
    monkeypatch.setitem(description._MAKERS, "batch_only", Batch)
    for arguments, named in (
        (("rides", "-g", "9"), "there is no sealed generation 9 of 'rides'"),
        (("ridez",), "there is no sealed generation of 'ridez'"),
        (("ridez",), "nearest 'rides'; train one"),
        (("rides", "-g", "0"), "0 is not in the range x>=1"),
        (("rides", "-g", "1"), "generation 1 of 'rides' cannot be exported as PMML; found a definition without"),
        (("rides", "-g", "2"), "generation 2 of 'rides' cannot be exported as PMML; found learner 'batch_only'"),
        (("rides", "--format", "onnx"), "'onnx' is not 'pmml'"),
    ):
        code, out, err = export(*arguments, "--out", str(file))
        assert (code, out, named in err) == (2, b"", True), err
        assert not file.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, export: Any) -> None:
    sealed(tmp_path / "home", LinearRegression(("temp",)).describe())
    code, _, err = export("rides", "--out", str(tmp_path / "no folder" / "rides.pmml"))
    assert (code, "rides.pmml cannot be written; found No such file or directory" in err) == (2, True), err
