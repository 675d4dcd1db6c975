"""The bill of materials names everything that is locked, and the audit can fail."""

from __future__ import annotations

import json
import sys
import tomllib
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CLEAN = {"dependencies": [{"name": "a", "version": "1", "vulns": []}]}
BAD = {"dependencies": [{"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}]}
SKIPPED = {"dependencies": [{"name": "c", "skip_reason": "not found"}]}


def script(name: str) -> ModuleType:
    spec = util.spec_from_file_location(f"deploy_{name}", ROOT / "deploy" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bill_of_materials_names_every_locked_package_and_jar() -> None:
    text = script("sbom").sbom()
    bom = json.loads(text)
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    purls = [one["purl"] for one in bom["components"]]
    assert len(purls) == len(set(purls))
    lock = (ROOT / "requirements" / "run.txt").read_text("utf-8")
    pinned = [line for line in lock.splitlines() if "==" in line and not line.startswith((" ", "#"))]
    assert sum(purl.startswith("pkg:pypi/") for purl in purls) == len(pinned)
    assert "pkg:pypi/pyspark@4.1.1" in purls
    lanes = tomllib.loads((ROOT / "lib" / "headrace" / "jars.toml").read_text("utf-8")).values()
    locked = {one["path"]: one["sha256"] for lane in lanes for group in lane.values() for one in group["artifacts"]}
    listed = {
        one["properties"][0]["value"]: one["hashes"][0]["content"]
        for one in bom["components"]
        if one["purl"].startswith("pkg:maven/")
    }
    assert listed == locked
    assert "pkg:maven/io.delta/delta-spark_4.1_2.13@4.2.0?type=jar" in purls
    assert script("sbom").sbom() == text, "equal locks make equal text"


@pytest.mark.parametrize(
    ("reports", "code", "said"),
    [
        ([BAD, CLEAN], 0, "1 packages, 0 vulnerable"),
        ([BAD, BAD], 1, "b 2: PYSEC-1 (mended in 3)"),
        ([BAD, SKIPPED], 1, "c: not found"),
        ([BAD, None], 1, "FAILED"),
        ([CLEAN], 0, "NOT RUN"),
        ([SKIPPED], 0, "NOT RUN"),
        ([None], 0, "NOT RUN"),
    ],
)
def test_the_audit_gates_where_the_database_answers_and_says_so_where_not(
    reports: list[Any], code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = script("audit")
    answers = iter(reports)
    monkeypatch.setattr(audit, "audited", lambda *_arguments: next(answers))
    assert audit.main() == code
    assert said in capsys.readouterr().out


def test_a_report_that_is_none_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    audit = script("audit")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert audit.audited("-r", "x") is None
