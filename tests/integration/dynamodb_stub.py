"""A stand-in for DynamoDB's item calls over real HTTP that refuses a share of them, and counts what lands.

It speaks the JSON protocol of BatchExecuteStatement (the INSERT, UPDATE and DELETE forms the store writes),
BatchWriteItem (puts), GetItem, BatchGetItem and UpdateItem (SET, one condition), keeps items in memory, and is not a
model of anything else: what DynamoDB itself does is tested on DynamoDB Local. Run as a program it prints its address
and serves until stopped.
"""

from __future__ import annotations

import json
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Key = tuple[str, str]
Item = dict[str, Any]
_SET = re.compile(r"SET (\w+)=\?")
_REMOVE = re.compile(r"REMOVE (\w+)")
_WHERE = re.compile(r"(\w+)=\?")
_EQUALS = re.compile(r"(\w+) = (:\w+)")
_MEMBER = re.compile(r"'(\w+)':\?")


@dataclass
class Faults:
    """What share of calls, statements or keys is refused, until `seconds` after the first call."""

    calls: float = 0.0  # whole request: HTTP 400 ThrottlingException
    errors: float = 0.0  # whole request: HTTP 500
    statements: float = 0.0  # single statements: ThrottlingError
    unprocessed: float = 0.0  # keys of a BatchGetItem, puts of a BatchWriteItem
    lost: float = 0.0  # calls that are carried out and whose answer is cut
    seconds: float = float("inf")
    seed: int = 7


@dataclass
class Stub:
    """The state of one running stand-in."""

    faults: Faults = field(default_factory=Faults)
    latency_s: float = 0.0
    items: dict[Key, Item] = field(default_factory=dict)
    landed: Counter[Key] = field(default_factory=Counter)
    refused: int = 0
    calls: list[float] = field(default_factory=list)
    connections: int = 0
    endpoint: str = ""
    admits: Callable[[str | None], bool] = lambda _token: True  # whether a session token is still good

    def __post_init__(self) -> None:
        self._random = random.Random(self.faults.seed)
        self._lock = threading.Lock()
        self._first: float | None = None

    def hit(self, share: float) -> bool:
        """Whether this one is refused."""
        if share <= 0 or self._first is None or time.monotonic() - self._first > self.faults.seconds:
            return False
        return self._random.random() < share

    def answer(self, operation: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Carry out one call; (HTTP status, body)."""
        with self._lock:
            now = time.monotonic()
            self._first = self._first if self._first is not None else now
            self.calls.append(now)
            if self.hit(self.faults.calls):
                self.refused += 1
                return 400, {"__type": "com.amazon.coral.availability#ThrottlingException", "message": "Rate exceeded"}
            if self.hit(self.faults.errors):
                self.refused += 1
                return 500, {"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError", "message": "oops"}
        if self.latency_s:
            time.sleep(self.latency_s)  # refusals come at once, as they do from the real one
        with self._lock:
            if operation == "BatchExecuteStatement":
                return self._statements(request["Statements"])
            if operation == "BatchWriteItem":
                return 200, self._puts(request["RequestItems"])
            if operation == "BatchGetItem":
                return 200, self._gets(request["RequestItems"])
            if operation == "GetItem":
                key = (request["Key"]["pk"]["S"], request["Key"]["sk"]["S"])
                return 200, {"Item": {**self.items[key], **request["Key"]}} if key in self.items else {}
            if operation == "UpdateItem":
                return self._update(request)
        return 400, {"__type": "UnknownOperationException", "message": operation}

    def calls_per_second(self) -> list[int]:
        """Calls in each whole second since the first."""
        if not self.calls:
            return []
        counts = Counter(int(at - self.calls[0]) for at in self.calls)
        return [counts.get(second, 0) for second in range(int(self.calls[-1] - self.calls[0]) + 1)]

    def _statements(self, statements: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        parsed = [_parsed(s["Statement"], s["Parameters"]) for s in statements]
        if len(statements) > 25 or len({key for _, key, _, _, _ in parsed}) != len(parsed):
            return 400, {"__type": "ValidationException", "message": "Provided list of item keys contains duplicates"}
        return 200, {"Responses": [self._statement(*one) for one in parsed]}

    def _statement(self, verb: str, key: Key, sets: Item, removes: list[str], where: Item) -> dict[str, Any]:
        if self.hit(self.faults.statements):
            self.refused += 1
            return {"Error": {"Code": "ThrottlingError", "Message": "Throughput exceeds the current capacity"}}
        item = self.items.get(key)
        if verb == "INSERT":
            if item is not None:
                return {"Error": {"Code": "DuplicateItem", "Message": "Duplicate primary key exists in table"}}
            self.items[key] = sets
            self.landed[key] += 1
            return {"TableName": "t"}
        if item is None or any(item.get(name) != value for name, value in where.items()):
            absent_delete = item is None and verb == "DELETE"
            return {} if absent_delete else {"Error": {"Code": "ConditionalCheckFailed", "Message": "failed"}}
        if verb == "DELETE":
            del self.items[key]
            return {"TableName": "t"}
        item.update(sets)
        for name in removes:
            item.pop(name, None)
        self.landed[key] += 1
        return {"TableName": "t", "Item": {**item, "pk": {"S": key[0]}, "sk": {"S": key[1]}}}

    def _update(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        key = (request["Key"]["pk"]["S"], request["Key"]["sk"]["S"])
        values, item = request["ExpressionAttributeValues"], self.items.get(key)
        guard = _EQUALS.search(request["ConditionExpression"])
        expected = values[guard[2]] if guard else None
        if (item or {}).get(guard[1] if guard else "n") != expected:
            return 400, {"__type": "ConditionalCheckFailedException", "message": "The conditional request failed"}
        sets = {name: values[value] for name, value in _EQUALS.findall(request["UpdateExpression"])}
        self.items[key] = {**(item or {}), **sets}
        self.landed[key] += 1
        return 200, {}

    def _puts(self, tables: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
        left: dict[str, Any] = {}
        for table, requests in tables.items():
            for request in requests:
                if self.hit(self.faults.unprocessed):
                    self.refused += 1
                    left.setdefault(table, []).append(request)
                    continue
                item = request["PutRequest"]["Item"]
                key = (item["pk"]["S"], item["sk"]["S"])
                self.items[key] = item
                self.landed[key] += 1
        return {"UnprocessedItems": left}

    def _gets(self, tables: dict[str, dict[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        left: dict[str, Any] = {}
        for table, wanted in tables.items():
            found[table] = []
            for pair in wanted["Keys"]:
                key = (pair["pk"]["S"], pair["sk"]["S"])
                if self.hit(self.faults.unprocessed):
                    self.refused += 1
                    left.setdefault(table, {**wanted, "Keys": []})["Keys"].append(pair)
                elif key in self.items:
                    found[table].append({**self.items[key], **pair})
        return {"Responses": found, "UnprocessedKeys": left}


def _parsed(statement: str, parameters: list[Any]) -> tuple[str, Key, Item, list[str], Item]:
    verb = statement.split(" ", 1)[0]
    if verb == "INSERT":
        item = dict(zip(_MEMBER.findall(statement), parameters, strict=True))
        return verb, (item.pop("pk")["S"], item.pop("sk")["S"]), item, [], {}
    head, _, tail = statement.partition(" WHERE ")
    names = _SET.findall(head)
    sets = dict(zip(names, parameters, strict=False))
    where = dict(zip(_WHERE.findall(tail), parameters[len(names) :], strict=True))
    return verb, (where.pop("pk")["S"], where.pop("sk")["S"]), sets, _REMOVE.findall(head), where


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def setup(self) -> None:
        self.server.stub.connections += 1
        super().setup()

    def do_POST(self) -> None:
        stub = self.server.stub
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        if stub.admits(self.headers["X-Amz-Security-Token"]):
            status, answer = stub.answer(operation, json.loads(body))
        else:
            status, answer = 400, {"__type": "com.amazon.coral.service#ExpiredTokenException", "message": "expired"}
            stub.refused += 1
        payload = json.dumps(answer).encode()
        if status == 200 and stub.hit(stub.faults.lost):
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class names it
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    stub: Stub


@contextmanager
def serving(faults: Faults | None = None, latency_s: float = 0.0) -> Iterator[Stub]:
    """A running stand-in on a free port of this machine."""
    stub = Stub(faults or Faults(), latency_s)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.stub = stub
    stub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    with serving() as running:
        sys.stdout.write(f"{running.endpoint}\n")
        sys.stdout.flush()
        sys.stdin.read()
        sys.stdout.write(json.dumps({"items": len(running.items), "calls": len(running.calls)}) + "\n")
