"""Where the full data set is, if this machine has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.config import data_folder


@pytest.fixture(scope="session")
def online_retail() -> Path:
    """UCI Online Retail as CSV, from the folder $HEADRACE_DATA."""
    folder = data_folder()
    path = folder / "online_retail" / "online-retail-dataset.csv.gz" if folder is not None else None
    if path is None or not path.exists():
        pytest.skip("Online Retail is not in $HEADRACE_DATA")
    return path
