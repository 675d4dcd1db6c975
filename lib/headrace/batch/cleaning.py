"""What `headrace cleanup` may drop: what the platform made and remembers, where it still is that very thing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from headrace.batch.made import Made, forget, record
from headrace.config import Settings
from headrace.schemas.lake import table_snapshot_path
from headrace.sinks import cassandra as sink
from headrace.sources.cassandra import Cassandra, table_named

# Tables before the keyspace that holds them.
_ORDER = ("rows", "table", "snapshot", "keyspace")


@dataclass(frozen=True)
class Step:
    """One thing that was made. drops: whether it would be dropped; why: what else is true of it, for people."""

    made: Made
    drops: bool
    why: str = ""

    @property
    def text(self) -> str:
        rows = f"the rows of run {self.made.run_id} in " if self.made.kind == "rows" else f"{self.made.kind} "
        at = f" at {self.made.at}" if self.made.at else ""
        return f"{rows}{self.made.name}{at}, made {self.made.made_at}" + (f": {self.why}" if self.why else "")


def needs_cassandra(settings: Settings) -> bool:
    """Whether anything is remembered that is in Cassandra."""
    return any(one.kind != "snapshot" for one in record(settings.made))


def planned(settings: Settings, cassandra: Cassandra | None) -> list[Step]:
    """What would be dropped, in that order, and what stays and why. Changes nothing."""
    made = sorted(record(settings.made), key=lambda one: _ORDER.index(one.kind))
    steps: list[Step] = []
    for one in made:
        if one.kind == "snapshot":
            steps.append(_snapshot(one, settings))
        elif cassandra is None:
            steps.append(Step(one, drops=False, why="Cassandra was not asked"))
        elif one.kind == "keyspace":
            steps.append(_keyspace(one, cassandra, steps))
        else:
            steps.append(_table(one, cassandra))
    return steps


def drop(settings: Settings, cassandra: Cassandra | None, step: Step) -> None:
    """Drop one thing and forget it."""
    made = step.made
    if made.kind == "snapshot":
        shutil.rmtree(made.name)
    elif cassandra is not None and made.kind == "rows":
        sink.delete_results(cassandra, made.name, made.run_id)
    elif cassandra is not None and made.kind == "table":
        sink.drop_table(cassandra, *made.name.split(".", 1))
        (settings.home / "loads" / f"{made.id}.json").unlink(missing_ok=True)
    elif cassandra is not None:
        sink.drop_keyspace(cassandra, made.name)
    forget(settings.made, made)


def _snapshot(made: Made, settings: Settings) -> Step:
    folder = Path(made.name)
    # A record that came here with a copy of its home names what is still another home's.
    if folder != table_snapshot_path(settings.lake, folder.name):
        return Step(made, drops=False, why=f"it is not in the lake {settings.lake}")
    there = folder.is_dir()
    return Step(made, there, "" if there else "it is gone already")


def _table(made: Made, cassandra: Cassandra) -> Step:
    found = table_named(cassandra, *made.name.split(".", 1))
    if found is None:
        return Step(made, drops=False, why=f"there is none at {cassandra.address}")
    if found.id != made.id:
        return Step(made, drops=False, why="the one there is another table of that name")
    return Step(made, drops=True)


def _keyspace(made: Made, cassandra: Cassandra, before: list[Step]) -> Step:
    if made.at != cassandra.address:
        return Step(made, drops=False, why=f"the configured Cassandra is {cassandra.address}")
    names = cassandra.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?", (made.name,))
    going = {step.made.name for step in before if step.drops and step.made.kind == "table"}
    left = sorted({f"{made.name}.{row.table_name}" for row in names} - going)
    if left:
        return Step(made, drops=False, why=f"it holds {', '.join(left)}")
    return Step(made, drops=True)
