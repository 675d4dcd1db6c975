"""Events into gzip CSV, shard by shard, resumed where an earlier run stopped."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.batch.scored import inputs_of, named_refusals, required_learner, told
from headrace.batch.shards import SHARD, Shard, write_shards
from headrace.definitions import Definition
from headrace.errors import InputError
from headrace.evaluate.splitting import ROW
from headrace.registry import Generation
from headrace.registry.manifest import require_same
from headrace.schemas.positions import PLACE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_SMALLEST, _LARGEST, _SHARDS = 16_384, 100_000, 64
_JOB, _SUMMARY, _SINGLE = "job.json", "summary.json", "predictions.csv.gz"
# What a job writes, half written files included.
_OWN = re.compile(r"(job|summary|part-\d+)\.json|(part-\d+|predictions)\.csv\.gz|failed-\d+\.jsonl\.gz|\..*\.partial")


@dataclass(frozen=True)
class Predicted:
    """What a batch prediction came to; seen = scored + failed.

    by_reason: failed records by why. resumed: shards that an earlier run had written. paths: the files, in order.
    rmse: of a number, over the records that have a label; None where none has, and of classes.
    """

    generation: int
    seen: int
    failed: int
    by_reason: dict[str, int]
    shards: int
    resumed: int
    folder: Path
    paths: tuple[Path, ...]
    rmse: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "generation": self.generation,
            "records_seen": self.seen,
            "records_failed": self.failed,
            "failed_by_reason": self.by_reason,
            "rmse": self.rmse,
            "shards": self.shards,
            "resumed": self.resumed,
            "folder": str(self.folder),
            "files": [path.name for path in self.paths],
        }


def predict_batch(
    definition: Definition,
    generation: Generation,
    numbered: tuple[DataFrame, int],
    folder: Path,
    identity: Mapping[str, Any],
    *,
    single: bool = False,
    replace: bool = False,
    shard_records: int | None = None,
    failed_before: Mapping[str, int] | None = None,
) -> Predicted:
    """Score marked events by a generation's parameters into `folder`.

    numbered: the events with `_row`, their number from 0 on, and how many they are, as `with_row_number` gives them.
    identity: what tells these events from others, such as the lake's version and the part; a folder of another job is
    refused. single: one file more, `predictions.csv.gz`, of all shards. replace: drop what it left.
    shard_records: events of a shard; by their number if None, as `records_a_shard` tells.
    failed_before: records by reason that could not even be read. Files are the same bytes however often the job was
    interrupted. Raises DefinitionError for a definition that is not the generation's, InputError when there is no
    record, before anything is written; InputError for what a task refuses, such as an unseen category under `fail`.
    Whatever the error, a folder that holds no whole shard then is removed, so that it hinders no other job.
    """
    required_learner(definition)
    require_same(definition, generation.manifest, do="predict with the definition it was trained with, or train again")
    parameters = generation.theta()["learner"]
    rows, events = numbered
    if not events:
        raise InputError("there is no record to predict", found=dict(identity), do="name another part or input")
    shard_records = shard_records or records_a_shard(events)
    job = {
        "definition": definition.name,
        "generation": generation.manifest.generation,
        "manifest_sha256": generation.manifest_sha256,
        "shard_records": shard_records,
        **identity,
    }
    count = -(-events // shard_records)
    claim(folder, job, replace=replace)
    done = [shard for number in range(count) if (shard := Shard.read(folder, number)) is not None]
    missing = sorted(set(range(count)) - {shard.number for shard in done})
    with _given_up_without_a_shard(folder):
        written = _write(definition, parameters, rows, folder, missing, shard_records=shard_records) if missing else []
    shards = sorted((*done, *written), key=lambda shard: shard.number)
    reasons = Counter(dict(failed_before or {}))
    for shard in shards:
        reasons.update(shard.by_reason)
    unread = sum((failed_before or {}).values())
    labelled = sum(shard.labelled for shard in shards)
    paths = tuple(folder / shard.file for shard in shards)
    if single:
        paths = (_joined(folder, paths),)
    found = Predicted(
        generation=generation.manifest.generation,
        seen=unread + sum(shard.seen for shard in shards),
        failed=sum(reasons.values()),
        by_reason=dict(reasons.most_common()),
        shards=count,
        resumed=len(done),
        folder=folder,
        paths=paths,
        rmse=math.sqrt(math.fsum(shard.squared for shard in shards) / labelled) if labelled else None,
    )
    _write_json(folder / _SUMMARY, found.to_json())
    return found


def records_a_shard(events: int) -> int:
    """How many events a shard takes: as tasks score shards, few events make many of them, down to a bound.

    By the events alone, so that any cluster resumes a job to the same bytes.

    >>> records_a_shard(30_382), records_a_shard(2_000_000), records_a_shard(10**9)
    (16384, 31250, 100000)
    """
    return max(_SMALLEST, min(_LARGEST, -(-events // _SHARDS)))


def _write(
    definition: Definition,
    parameters: Mapping[str, Any],
    numbered: DataFrame,
    folder: Path,
    missing: list[int],
    *,
    shard_records: int,
) -> list[Shard]:
    """The missing shards, each by one task, and their receipts."""
    from pyspark.sql import functions as F

    learner = required_learner(definition)
    outputs, score = learner.outputs, partial(told, learner, parameters, inputs=definition.sample_columns[:-1])
    shard = F.floor(F.col(ROW) / shard_records).cast("int")
    rows = inputs_of(definition, parameters, numbered.withColumn(SHARD, shard).where(F.col(SHARD).isin(missing)), SHARD)
    # By its place in the list, where a hash would give one task two shards and another none.
    task = F.array_position(F.lit(missing), F.col(SHARD)) - 1
    # By all columns, so that rows that `prepare` makes of one event have an order.
    spread = rows.repartitionById(len(missing), task.cast("int")).sortWithinPartitions(SHARD, *PLACE, *rows.columns)

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        receipts = [receipt.to_json() for receipt in write_shards(folder, batches, score, outputs)]
        yield pa.RecordBatch.from_pydict({"receipt": pa.array([json.dumps(one) for one in receipts], pa.string())})

    with named_refusals():
        found = spread.mapInArrow(write, "receipt string").collect()
    return [Shard.of(json.loads(row["receipt"])) for row in found]


def claim(folder: Path, job: Mapping[str, Any], *, replace: bool) -> None:
    """Make the folder this job's; replace: dropping what another job left there, and nothing else.

    Raises InputError for a folder that cannot be made, holds another job's predictions, or anything else.
    """
    plain = json.loads(json.dumps(job, default=str))
    try:
        held = _job_in(folder)
        if held is not None and held != plain and not replace:
            other = [name for name in {**held, **plain} if held.get(name) != plain.get(name)]
            raise InputError(
                f"{folder} holds the predictions of another job",
                found={name: held.get(name) for name in other},
                expected={name: plain.get(name) for name in other},
                do="name another folder with --to, or drop these with --replace",
            )
        folder.mkdir(parents=True, exist_ok=True)
        # What is there is dropped by --replace, and by a job that fails at once: it must be a job's own.
        there = sorted(entry.name for entry in folder.iterdir())
        foreign = [name for name in there if held is None or not _OWN.fullmatch(name)]
        if foreign:
            raise InputError(
                f"{folder} is not empty" if held is None else f"{folder} holds more than predictions",
                found=foreign[:3],
                do="name another folder with --to",
            )
        if held is not None and replace:
            shutil.rmtree(folder)
            folder.mkdir()
        _write_json(folder / _JOB, plain)
    except OSError as error:
        raise InputError(
            f"predictions cannot be written to {folder}", found=error.strerror, do="name another folder with --to"
        ) from error


@contextmanager
def _given_up_without_a_shard(folder: Path) -> Iterator[None]:
    """On an error, remove a folder that holds no whole shard: there is nothing in it to resume."""
    try:
        yield
    except BaseException:
        if not any(folder.glob("part-*.json")):
            # Moved first, as tasks of the failed job may still write into it.
            gone = folder.with_name(f".{folder.name}.{os.getpid()}.failed")
            with suppress(OSError):
                folder.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)
        raise


def _joined(folder: Path, parts: tuple[Path, ...]) -> Path:
    """All shards as one file: members of one gzip file, the head in the first of them."""
    partial_file = folder / f".{_SINGLE}.partial"
    with partial_file.open("wb") as out:
        for path in parts:
            with path.open("rb") as part:
                shutil.copyfileobj(part, out)
    return partial_file.replace(folder / _SINGLE)


def _job_in(folder: Path) -> dict[str, Any] | None:
    """The job whose predictions a folder holds; None where it holds none's."""
    with suppress(FileNotFoundError, ValueError):
        told = json.loads((folder / _JOB).read_text("utf-8"))
        return told if isinstance(told, dict) else None
    return None


def _write_json(path: Path, value: Any) -> None:
    partial_file = path.with_name(f".{path.name}.partial")
    partial_file.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", "utf-8")
    partial_file.replace(path)
