"""How the store's records stand in DynamoDB: keys, attributes and their typed JSON values. Pure.

Keys are text: `pk` and `sk`. A version is the attribute `v<8 digits>`, a map of `s` (state, binary) and `o`
(outputs, text), or `gone` alone for a tombstone. `mark` names the last writer of a batch item: publishers set
their generation there, and a purge its own token, so that the item it emptied is deleted only while no one
else has written it. A speed item holds `s`, `o`, its vector `w` (JSON text) and its write counter `n`; a model
item its contribution `c` (JSON text), `w` and `n`.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, cast

from headrace.errors import StoreError
from headrace.schemas import Vector
from headrace.stores.port import (
    GENERATION_DIGITS,
    TOMBSTONE,
    Champion,
    Lease,
    LedgerEntry,
    ModelItem,
    Progress,
    SpeedItem,
    Status,
    Version,
    padded,
)

Value = dict[str, Any]
Item = dict[str, Value]

BATCH = "batch"
CHAMPION = "champion"
PUBLISHER = "publisher"
LEDGER = "ledger#"
SPEED = "speed#"
PROGRESS = "progress#"
MODEL = "model#"
MARK = "mark"
# Source: DynamoDB quotas: an item, its attribute names included, is at most 400 KB; a partition key 2,048 bytes.
MAX_ITEM_BYTES = 400 * 1024
MAX_KEY_BYTES = 2048
_NO_TEXT: Value = {"S": None}
# What an item's names, key and map headers take beside state, outputs and entity, rounded up.
_OVERHEAD = 256


def text(value: str) -> Value:
    return {"S": value}


def number(value: int) -> Value:
    return {"N": str(value)}


def key(pk: str, sk: str) -> Item:
    return {"pk": text(pk), "sk": text(sk)}


def batch_pk(definition: str, entity: str) -> str:
    """The partition key of an entity; a definition's name has no `#`, so it is unambiguous.

    >>> batch_pk("segments", "17850")
    'segments#17850'
    """
    return f"{definition}#{entity}"


def attribute(generation: int) -> str:
    return f"v{padded(generation)}"


def version_value(version: Version) -> Value:
    """A version as an attribute value; `Connection` takes binary as base64 text."""
    if version.state is None:
        return {"M": {"gone": {"BOOL": True}}}
    held: Value = {"s": {"B": b64encode(version.state).decode("ascii")}}
    if version.outputs is not None:
        held["o"] = {"S": version.outputs}
    return {"M": held}


def versions_of(item: Item) -> dict[int, Version]:
    """Every version of a batch item."""
    return {
        int(name[1:]): _version(value["M"])
        for name, value in item.items()
        if len(name) == GENERATION_DIGITS + 1 and name[0] == "v" and name[1:].isdigit()
    }


def outputs_of(item: Item) -> dict[int, Version]:
    """`versions_of` for a reader of outputs alone: states are empty, and not decoded."""
    return {
        int(name[1:]): Version(b"", value["M"].get("o", _NO_TEXT)["S"]) if "s" in value["M"] else TOMBSTONE
        for name, value in item.items()
        if len(name) == GENERATION_DIGITS + 1 and name[0] == "v" and name[1:].isdigit()
    }


def check_size(definition: str, entity: str, state: bytes, outputs: str) -> int:
    """The bytes one version takes in a request, roughly; StoreError for one that no item or key can hold."""
    size = len(state) + len(entity) + len(outputs) + _OVERHEAD
    if size > MAX_KEY_BYTES // 4:
        pk = len(batch_pk(definition, entity).encode("utf-8", "surrogatepass"))
        size = len(state) + len(outputs.encode("utf-8", "surrogatepass")) + pk + _OVERHEAD
        if pk > MAX_KEY_BYTES:
            raise StoreError(
                f"the entity {entity[:40]!r}... of {definition!r} cannot be a key",
                found=f"{pk} bytes",
                expected=f"at most {MAX_KEY_BYTES} with the definition's name",
            )
        if size > MAX_ITEM_BYTES:
            raise too_big(definition, entity, size)
    return size


def too_big(definition: str, entity: str, size: int) -> StoreError:
    return StoreError(
        f"what {definition!r} says of entity {entity!r} does not fit into one item",
        found=f"{size} bytes in this version",
        expected=f"at most {MAX_ITEM_BYTES} for all retained versions together",
        do="purge superseded versions, or bound the features that grow (distinct counts, windows)",
    )


def vector_text(vector: Vector) -> Value:
    return text(json.dumps(vector.to_json(), separators=(",", ":"), ensure_ascii=False))


def vector_of(value: Value) -> Vector:
    return _vector(value["S"])


@lru_cache(maxsize=1024)  # what one micro-batch wrote carries one vector
def _vector(told: str) -> Vector:
    return Vector.from_json(json.loads(told))


def speed_values(item: SpeedItem) -> dict[str, Value]:
    """The attributes of a speed item beside its key."""
    return {
        "s": {"B": b64encode(item.state).decode("ascii")},
        "o": text(item.outputs),
        "w": vector_text(item.vector),
        "n": number(item.writes),
    }


def speed_of(item: Item) -> SpeedItem:
    return SpeedItem(b64decode(item["s"]["B"]), item["o"]["S"], vector_of(item["w"]), int(item["n"]["N"]))


def model_item(definition: str, generation: int, item: ModelItem) -> Item:
    return key(definition, MODEL + padded(generation)) | {
        "c": text(item.contribution),
        "w": vector_text(item.vector),
        "n": number(item.writes),
    }


def model_of(item: Item) -> ModelItem:
    return ModelItem(item["c"]["S"], vector_of(item["w"]), int(item["n"]["N"]))


def progress_item(progress: Progress) -> Item:
    return key(progress.definition, PROGRESS + padded(progress.generation)) | {
        "vector": vector_text(progress.vector),
        "epoch": number(progress.epoch),
        "owner": text(progress.owner),
        "as_of": text(progress.as_of.isoformat()),
        "head": vector_text(progress.head),
    }


def progress_of(item: Item) -> Progress:
    return Progress(
        definition=item["pk"]["S"],
        generation=int(item["sk"]["S"].removeprefix(PROGRESS)),
        vector=vector_of(item["vector"]),
        epoch=int(item["epoch"]["N"]),
        owner=item["owner"]["S"],
        as_of=datetime.fromisoformat(item["as_of"]["S"]),
        head=vector_of(item["head"]) if "head" in item else Vector(),
    )


def champion_item(definition: str, champion: Champion, token: str) -> Item:
    item = key(definition, CHAMPION) | {
        "generation": number(champion.generation),
        "floor": number(champion.floor),
        "epoch": number(champion.epoch),
        "previous": {"L": [number(g) for g in champion.previous]},
        MARK: text(token),
    }
    if champion.challenger:
        item["challenger"] = number(champion.challenger)
    if champion.owed:
        item["owed"] = vector_text(champion.owed)
    if champion.skip:
        item["skip"] = {"NS": [str(g) for g in sorted(champion.skip)]}
    return item


def champion_of(item: Item) -> Champion:
    return Champion(
        generation=int(item["generation"]["N"]),
        skip=frozenset(int(g) for g in item.get("skip", {}).get("NS", ())),
        floor=int(item["floor"]["N"]),
        epoch=int(item["epoch"]["N"]),
        previous=tuple(int(g["N"]) for g in item["previous"]["L"]),
        owed=vector_of(item["owed"]) if "owed" in item else Vector(),
        challenger=int(item["challenger"]["N"]) if "challenger" in item else 0,
    )


def ledger_item(definition: str, entry: LedgerEntry) -> Item:
    item = key(definition, LEDGER + padded(entry.generation)) | {
        "status": text(entry.status),
        "manifest_sha256": text(entry.manifest_sha256),
        "items": number(entry.items),
        "info": text(json.dumps(entry.info, sort_keys=True, separators=(",", ":"), allow_nan=False)),
    }
    if entry.base is not None:
        item["base"] = number(entry.base)
    return item


def entry_of(item: Item) -> LedgerEntry:
    base = item.get("base")
    return LedgerEntry(
        generation=int(item["sk"]["S"].removeprefix(LEDGER)),
        status=cast(Status, item["status"]["S"]),
        base=int(base["N"]) if base else None,
        manifest_sha256=item["manifest_sha256"]["S"],
        items=int(item["items"]["N"]),
        info=json.loads(item["info"]["S"]),
    )


def lease_item(lease: Lease) -> Item:
    return key(lease.definition, PUBLISHER) | {
        "owner": text(lease.owner),
        "token": number(lease.token),
        "expires_at": text(lease.expires_at.isoformat()),
    }


def lease_of(item: Item) -> Lease:
    expires_at = datetime.fromisoformat(item["expires_at"]["S"])
    return Lease(item["pk"]["S"], item["owner"]["S"], int(item["token"]["N"]), expires_at)


def _version(held: Mapping[str, Value]) -> Version:
    if "s" not in held:
        return Version(None, None)
    return Version(b64decode(held["s"]["B"]), held["o"]["S"] if "o" in held else None)
