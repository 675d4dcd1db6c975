"""What may be dropped of the snapshots that a record names; tables and keyspaces need Cassandra."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from headrace.batch.cleaning import drop, planned
from headrace.batch.made import Made, record, remember
from headrace.schemas.lake import table_snapshot_path
from headrace.testing.plugin import SettingsFactory

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def test_a_snapshot_is_dropped_where_it_is_this_lakes(headrace_settings: SettingsFactory, tmp_path: Path) -> None:
    settings = headrace_settings()
    own = table_snapshot_path(settings.lake, "shop.online_retail")
    other = table_snapshot_path(tmp_path / "another" / "lake", "shop.online_retail")
    gone = table_snapshot_path(settings.lake, "shop.gone")
    for folder in (own, other):
        folder.mkdir(parents=True)
        (folder / "rows.parquet").write_text("rows")
    for folder in (own, other, gone):
        remember(settings.made, Made("snapshot", str(folder)), NOW)

    steps = {step.made.name: step for step in planned(settings, None)}
    assert {name: step.drops for name, step in steps.items()} == {str(own): True, str(other): False, str(gone): False}
    assert steps[str(other)].why == f"it is not in the lake {settings.lake}"
    assert steps[str(gone)].why == "it is gone already"
    for step in steps.values():
        if step.drops:
            drop(settings, None, step)
    assert not own.exists()
    assert (other / "rows.parquet").exists()
    assert {one.name for one in record(settings.made)} == {str(other), str(gone)}
