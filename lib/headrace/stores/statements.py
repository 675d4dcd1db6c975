"""Bulk changes of batch items: 25 PartiQL statements a call, each settled on its own and repeated until it lands."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

from headrace.errors import StoreError
from headrace.stores import items
from headrace.stores.connection import PASSING, Again, Connection
from headrace.stores.port import SpeedItem, Write, WriteReport, padded

# Source: BatchExecuteStatement takes at most 25 statements; a request is at most 16 MB. Base64 and JSON escapes
# can triple what is sent.
MAX_STATEMENTS = 25
MAX_CALL_BYTES = 4 * 1024 * 1024
# A statement is at most 8,192 characters, which 100 REMOVE clauses stay well below.
MAX_REMOVES = 100
IN_FLIGHT = 4
_BATCH = items.text(items.BATCH)


class Change(Protocol):
    """One item's change: the statement to send next, and what its answer means."""

    entity: str
    size: int

    def statement(self) -> dict[str, Any]: ...

    def settle(self, answer: Mapping[str, Any]) -> bool:
        """Whether this change is done; False asks for another statement. Raises StoreError for a final refusal."""
        ...


class SetVersion:
    """SET one version; INSERT where the item is absent. Which of the two is a guess the answer corrects."""

    __slots__ = ("_exists", "_insert", "_mark", "_pk", "_update", "_value", "entity", "size")

    def __init__(self, table: str, definition: str, generation: int, write: Write) -> None:
        name = items.attribute(generation)
        self.entity = write.entity
        self.size = items.check_size(definition, write.entity, write.version.state or b"", write.version.outputs or "")
        self._pk = items.text(items.batch_pk(definition, write.entity))
        self._value = items.version_value(write.version)
        self._mark = items.text(padded(generation))
        self._exists = write.exists
        # Names only: the table's was checked when the store was opened, the others are ours. Values are parameters.
        self._update = f'UPDATE "{table}" SET {name}=? SET {items.MARK}=? WHERE pk=? AND sk=?'  # noqa: S608
        self._insert = f"INSERT INTO \"{table}\" VALUE {{'pk':?,'sk':?,'{name}':?,'{items.MARK}':?}}"

    def statement(self) -> dict[str, Any]:
        if self._exists:
            return {"Statement": self._update, "Parameters": (self._value, self._mark, self._pk, _BATCH)}
        return {"Statement": self._insert, "Parameters": (self._pk, _BATCH, self._value, self._mark)}

    def settle(self, answer: Mapping[str, Any]) -> bool:
        error = answer.get("Error")
        if error is None:
            return True
        if error["Code"] == ("ConditionalCheckFailed" if self._exists else "DuplicateItem"):
            self._exists = not self._exists
            return False
        raise _not_written(self._pk["S"], self, error)


class GuardedWrite:
    """Write a speed item over the one that was written one time less; `standing` is what refused it, if it was."""

    def __init__(self, table: str, definition: str, generation: int, entity: str, item: SpeedItem) -> None:
        self.entity = entity
        self.size = items.check_size(definition, entity, item.state, item.outputs)
        self.refused = False
        self.standing: items.Item | None = None
        self._table = table
        self._key = (items.text(items.batch_pk(definition, entity)), items.text(items.SPEED + padded(generation)))
        self._item = item

    def statement(self) -> dict[str, Any]:
        values = items.speed_values(self._item)
        if self._item.writes == 1:
            names = ",".join(f"'{name}':?" for name in values)
            text = f"INSERT INTO \"{self._table}\" VALUE {{'pk':?,'sk':?,{names}}}"
            return {"Statement": text, "Parameters": (*self._key, *values.values())}
        names = " ".join(f"SET {name}=?" for name in values)
        guard = items.number(self._item.writes - 1)
        return {
            "Statement": f'UPDATE "{self._table}" {names} WHERE pk=? AND sk=? AND n=?',
            "Parameters": (*values.values(), *self._key, guard),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def settle(self, answer: Mapping[str, Any]) -> bool:
        error = answer.get("Error")
        if error is None:
            return True
        if error["Code"] in ("ConditionalCheckFailed", "DuplicateItem"):
            self.refused, self.standing = True, error.get("Item")
            return True
        raise _not_written(self._key[0]["S"], self, error)


class RemoveSpeed:
    """DELETE one speed item, whatever it holds."""

    size = 1024

    def __init__(self, table: str, definition: str, generation: int, entity: str) -> None:
        self.entity = entity
        self._text = f'DELETE FROM "{table}" WHERE pk=? AND sk=?'  # noqa: S608 - the table's name was checked
        self._key = (items.text(items.batch_pk(definition, entity)), items.text(items.SPEED + padded(generation)))

    def statement(self) -> dict[str, Any]:
        return {"Statement": self._text, "Parameters": self._key}

    def settle(self, answer: Mapping[str, Any]) -> bool:
        error = answer.get("Error")
        if error is not None and error["Code"] != "ConditionalCheckFailed":
            raise _refused(self.entity, error)
        return True


class RemoveVersions:
    """REMOVE versions, oldest first; then DELETE the item if none is left and nobody wrote it since."""

    def __init__(self, table: str, definition: str, entity: str, generations: Iterable[int]) -> None:
        self.entity = entity
        self.size = 1024
        self._table = table
        self._key = (items.text(items.batch_pk(definition, entity)), _BATCH)
        self._names = [items.attribute(g) for g in generations]
        self._token = items.text("")

    def statement(self) -> dict[str, Any]:
        if self._names:
            # A new token at each attempt: an attempt whose answer was lost cannot make a later DELETE succeed.
            self._token = items.text(f"purge {secrets.token_hex(8)}")
            removes = " ".join(f"REMOVE {name}" for name in self._names[:MAX_REMOVES])
            text = f'UPDATE "{self._table}" SET {items.MARK}=? {removes} WHERE pk=? AND sk=? RETURNING ALL NEW *'  # noqa: S608
            return {"Statement": text, "Parameters": (self._token, *self._key)}
        text = f'DELETE FROM "{self._table}" WHERE pk=? AND sk=? AND {items.MARK}=?'  # noqa: S608
        return {"Statement": text, "Parameters": (*self._key, self._token)}

    def settle(self, answer: Mapping[str, Any]) -> bool:
        error = answer.get("Error")
        if error is not None and error["Code"] != "ConditionalCheckFailed":
            raise _refused(self.entity, error)
        if error is not None or not self._names:
            return True  # the item is not there, or was written since: nothing left to do
        del self._names[:MAX_REMOVES]
        return not self._names and bool(items.versions_of(answer.get("Item", {})))


class Bulk:
    """Carries changes out over a connection, a few calls in flight, and counts them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def carry_out(self, changes: Iterable[Change]) -> WriteReport:
        """Every change, each entity once. StoreUnavailable when one chunk was refused for the retry bound."""
        report = WriteReport()
        running: set[Future[WriteReport]] = set()
        with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="store") as pool:
            try:
                for chunk in chunked(changes):
                    if len(running) >= IN_FLIGHT:
                        done, running = wait(running, return_when=FIRST_COMPLETED)
                        report = sum((one.result() for one in done), report)
                    running.add(pool.submit(self._land, chunk))
                return sum((one.result() for one in running), report)
            except BaseException:
                for one in running:
                    one.cancel()
                raise

    def _land(self, chunk: Sequence[Change]) -> WriteReport:
        left = list(chunk)
        calls = retried = throttled = 0

        def attempt() -> None:
            nonlocal left, calls, retried, throttled
            while True:
                calls += 1
                retried += len(left) if calls > 1 else 0
                try:
                    answers = self._call(left)
                except Again:
                    throttled += 1
                    raise
                passing = [_is_passing(answer) for answer in answers]
                throttled += sum(passing)
                progress = len(left)
                left = [
                    change
                    for change, answer, again in zip(left, answers, passing, strict=True)
                    if again or not change.settle(answer)
                ]
                if not left:
                    return
                if any(passing) or (len(left) == progress and calls > 2):
                    raise Again(f"{len(left)} of {len(chunk)} statements were throttled")

        self._connection.repeating(attempt)
        return WriteReport(items=len(chunk), calls=calls, retried=retried, throttled=throttled)

    def _call(self, changes: Sequence[Change]) -> list[dict[str, Any]]:
        request = {"Statements": [change.statement() for change in changes]}
        answers: list[dict[str, Any]] = self._connection.once("BatchExecuteStatement", request)["Responses"]
        return answers


def chunked(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Runs of changes that one call takes: keys unique, at most 25, bounded in bytes."""
    chunk: list[Change] = []
    entities: set[str] = set()
    size = 0
    for change in changes:
        if len(chunk) == MAX_STATEMENTS or change.entity in entities or (chunk and size + change.size > MAX_CALL_BYTES):
            yield chunk
            chunk, entities, size = [], set(), 0
        chunk.append(change)
        entities.add(change.entity)
        size += change.size
    if chunk:
        yield chunk


def _is_passing(answer: Mapping[str, Any]) -> bool:
    error = answer.get("Error")
    return error is not None and error["Code"] in PASSING


def _not_written(pk: str, change: Change, error: Mapping[str, Any]) -> StoreError:
    if error["Code"] == "ValidationError" and "size" in error.get("Message", ""):
        return items.too_big(pk.partition("#")[0], change.entity, change.size)
    return _refused(change.entity, error)


def _refused(entity: str, error: Mapping[str, Any]) -> StoreError:
    if error["Code"] == "ResourceNotFound":
        return StoreError("the store's table does not exist", found=error.get("Message"), do="create it; check store.*")
    return StoreError(
        f"the store refused what was written for entity {entity!r}",
        found=f"{error['Code']}: {error.get('Message', '')}",
    )
