"""One shard of a batch prediction: a gzip CSV file, its failed records beside it, and a receipt written last."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.schemas.lake import FOUND

Score = Callable[[pa.RecordBatch], tuple[Mapping[str, Any], list[str | None]]]

SHARD = "_shard"


@dataclass
class Shard:
    """What was written: so many records seen, failed by the kind of reason, and the file's SHA-256.

    labelled, squared: of a number, the scored records that have one, and what they miss it by, squared and summed.
    """

    number: int
    seen: int = 0
    labelled: int = 0
    squared: float = 0.0
    by_reason: dict[str, int] = field(default_factory=dict)
    sha256: str = ""

    @property
    def file(self) -> str:
        return f"part-{self.number:05d}.csv.gz"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Shard:
        """The shard whose `to_json` this is."""
        return cls(**told)

    @classmethod
    def read(cls, folder: Path, number: int) -> Shard | None:
        """The shard as an earlier run wrote it; None where there is none, or its file is not what it wrote."""
        with suppress(FileNotFoundError, ValueError, TypeError):
            shard = cls.of(json.loads((folder / f"part-{number:05d}.json").read_text("utf-8")))
            with (folder / shard.file).open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() == shard.sha256:
                    return shard
        return None


def head(outputs: tuple[str, ...]) -> str:
    """The first line of a file.

    Of a number `trueLabel,score`; of two classes with the likelier one, the score being the probability of class 1;
    of more classes a probability each.

    >>> head(("prediction",)), head(("probability_0", "probability_1", "prediction"))
    ('trueLabel,score', 'trueLabel,bestAnswer,score')
    """
    if len(outputs) == 1:
        return "trueLabel,score"
    if len(outputs) == 3:
        return "trueLabel,bestAnswer,score"
    return ",".join(["trueLabel", "bestAnswer", *outputs[:-1]])


def lines(outputs: tuple[str, ...], labels: list[str | None], made: Mapping[str, Any]) -> list[str]:
    """One line a record, numbers in scientific notation with every digit of a double.

    >>> import numpy as np
    >>> lines(("prediction",), ["4", None], {"prediction": np.array([1.5, 0.1])})
    ['4,1.5000000000000000E+00', ',1.0000000000000001E-01']
    """
    if len(outputs) == 1:
        return [f"{_field(label)},{value:.16E}" for label, value in zip(labels, made[outputs[0]].tolist(), strict=True)]
    scores = outputs[1:2] if len(outputs) == 3 else outputs[:-1]
    columns = [made[outputs[-1]].tolist(), *(made[name].tolist() for name in scores)]
    return [
        ",".join([_field(label), f"{best:.0f}", *(f"{value:.16E}" for value in values)])
        for label, best, *values in zip(labels, *columns, strict=True)
    ]


def write_shards(
    folder: Path, batches: Iterable[pa.RecordBatch], score: Score, outputs: tuple[str, ...]
) -> Iterator[Shard]:
    """Write the shards that batches hold, each whole or not at all; in: `_shard`, by which they are sorted."""
    open_one: _Open | None = None
    for batch in batches:
        start = 0
        numbers = batch.column(SHARD).to_pylist()
        while start < len(numbers):
            end = start
            while end < len(numbers) and numbers[end] == numbers[start]:
                end += 1
            if open_one is None or open_one.shard.number != numbers[start]:
                if open_one is not None:
                    yield open_one.close()
                open_one = _Open(folder, numbers[start], outputs)
            open_one.add(batch.slice(start, end - start), score)
            start = end
    if open_one is not None:
        yield open_one.close()


class _Open:
    """A shard being written, under names that nobody reads."""

    def __init__(self, folder: Path, number: int, outputs: tuple[str, ...]) -> None:
        self.shard, self._folder, self._outputs = Shard(number), folder, outputs
        self._reasons: Counter[str] = Counter()
        self._good, self._bad = (_Packed(folder / name) for name in (self.shard.file, self._failed))
        if number == 0:  # so that shards joined in order are one file with one head
            self._good.write([head(outputs)])

    @property
    def _failed(self) -> str:
        return f"failed-{self.shard.number:05d}.jsonl.gz"

    def add(self, batch: pa.RecordBatch, score: Score) -> None:
        made, reasons = score(batch)
        labels = batch.column("label").to_pylist()
        kept = [row for row, why in enumerate(reasons) if why is None]
        some = {name: values[kept] for name, values in made.items()}
        self._good.write(lines(self._outputs, [labels[row] for row in kept], some))
        if len(self._outputs) == 1:
            missed = batch.column("actual").to_numpy(zero_copy_only=False)[kept] - some[self._outputs[0]]
            known = missed[np.isfinite(missed)]
            self.shard.labelled += len(known)
            self.shard.squared += float(np.square(known).sum())
        failed = [row for row, why in enumerate(reasons) if why is not None]
        places = batch.select(["_incarnation", "_partition", "_position", "label"])
        self._bad.write(
            json.dumps({**one, "reason": reasons[row]}) for row in failed for one in places.slice(row, 1).to_pylist()
        )
        self._reasons.update(str(reasons[row]).partition(FOUND)[0] for row in failed)
        self.shard.seen += batch.num_rows

    def close(self) -> Shard:
        """Put the files in their places, the receipt last."""
        self.shard.by_reason = dict(self._reasons.most_common())
        self._bad.close(keep=bool(self._reasons))
        self.shard.sha256 = self._good.close(keep=True)
        receipt = self._folder / f"part-{self.shard.number:05d}.json"
        partial = receipt.with_name(f".{receipt.name}.{os.getpid()}.partial")
        partial.write_text(json.dumps(self.shard.to_json(), sort_keys=True) + "\n", "utf-8")
        partial.replace(receipt)
        return self.shard


class _Packed:
    """Lines into a gzip file that bears no time and no name, so that equal lines are equal bytes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._stored = self._partial.open("wb")
        packed = gzip.GzipFile("", "wb", compresslevel=6, fileobj=self._stored, mtime=0)
        self._text = io.TextIOWrapper(packed, "utf-8", newline="")

    def write(self, made: Iterable[str]) -> None:
        self._text.writelines(f"{line}\n" for line in made)

    def close(self, *, keep: bool) -> str:
        """The SHA-256 of the file, which is in its place then; one that is not to be kept is removed."""
        self._text.close()
        self._stored.close()
        if not keep:
            self._partial.unlink()
            self._path.unlink(missing_ok=True)
            return ""
        with self._partial.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        self._partial.replace(self._path)
        return digest


def _field(label: str | None) -> str:
    if label is None:
        return ""
    if any(letter in label for letter in ',"\r\n'):
        quoted = label.replace('"', '""')
        return f'"{quoted}"'
    return label
