"""spark-submit of the built archive on a local cluster whose executors import the package from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from headrace import config
from headrace.local.jars import ensure_jars
from headrace.local.java import find_java

from .conftest import Shell
from .test_own_definition import MINE, ORDERS

pytestmark = [pytest.mark.spark, pytest.mark.dynamodb]

ROOT = Path(__file__).resolve().parents[2]


def test_train_runs_from_the_zip_on_a_local_cluster(shell: Shell, tmp_path: Path) -> None:
    place = shell.home.parent
    (place / "mine.py").write_text(MINE, "utf-8")
    (place / "my.csv").write_text(ORDERS, "utf-8")
    shell.run("ingest", "mine.py:spend", "--input", "my.csv")
    archive = shutil.make_archive(str(tmp_path / "headrace"), "zip", ROOT / "lib", "headrace")
    python = _interpreter_without_headrace(tmp_path / "bare")
    shutil.copy(ROOT / "jobs" / "train.py", tmp_path)
    settings = config.load([])
    jars = ",".join(str(jar) for jar in ensure_jars(["delta"], settings.cache))
    done = subprocess.run(
        [
            *[sys.executable, "-c", _SUBMIT, "--master", "local-cluster[2,1,1024]", "--driver-memory", "1g"],
            *["--py-files", archive, "--jars", jars],
            *["--conf", "spark.sql.shuffle.partitions=2", "--conf", "spark.ui.enabled=false"],
            *[str(tmp_path / "train.py"), "mine.py:spend", "--json"],
        ],
        cwd=place,
        env={
            **shell.environment,
            "JAVA_HOME": str(find_java(settings.cache).home),
            "PYSPARK_PYTHON": python,
            "PYSPARK_DRIVER_PYTHON": python,
        },
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"entities": 3' in done.stdout
    assert os.fspath(shell.home) in done.stdout


def _interpreter_without_headrace(folder: Path) -> str:
    """A Python that has this environment's dependencies but not this checkout: only the archive brings the package."""
    venv.create(folder, with_pip=False, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    # A path added by a .pth file has its own .pth files ignored, and so the editable install with them.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    python = str(folder / "bin" / "python")
    found = subprocess.run([python, "-c", "import pyspark, headrace"], cwd=folder, capture_output=True, check=False)
    assert b"No module named 'headrace'" in found.stderr
    return python


_SUBMIT = (
    "import os, sys, pyspark; "
    "submit = os.path.join(os.path.dirname(pyspark.__file__), 'bin', 'spark-submit'); "
    "os.execv(submit, [submit, *sys.argv[1:]])"
)
