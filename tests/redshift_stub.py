"""A stand-in for the Redshift Data API: JSON 1.1 over HTTP, a real PostgreSQL behind it, real Parquet files in S3.

It parses the UNLOAD it is sent as Redshift documents literals, runs the inner query on PostgreSQL, and writes the parts
and the manifest. Faults are set by a test: throttling, a statement that never ends, an unload that dies half-way.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from headrace.errors import HeadraceError
from headrace.sources.postgres import Server, query_to_parquet

_PART = 1_000  # rows of a part


def literal(text: str, start: int) -> tuple[str, int]:
    """The value of the literal that begins at `start`, and where it ends: '' and \\' are a quote, \\\\ a backslash."""
    assert text[start] == "'"
    out, at = [], start + 1
    while True:
        letter = text[at]
        if letter == "\\":
            out.append(text[at + 1])
            at += 2
        elif letter == "'" and text[at + 1 : at + 2] == "'":
            out.append("'")
            at += 2
        elif letter == "'":
            return "".join(out), at + 1
        else:
            out.append(letter)
            at += 1


@dataclass
class Unload:
    query: str
    url: str
    role: str
    options: str


def parsed(sql: str) -> Unload:
    """The parts of an UNLOAD statement, or ValueError: what stands between literals must be what it should be."""
    if not sql.startswith("UNLOAD ("):
        raise ValueError(f'syntax error at or near "{sql[:10]}"')
    query, at = literal(sql, len("UNLOAD ("))
    if not sql.startswith(") TO ", at):
        raise ValueError(f'syntax error at or near "{sql[at : at + 10]}"')
    url, at = literal(sql, at + len(") TO "))
    if not sql.startswith(" IAM_ROLE ", at):
        raise ValueError(f'syntax error at or near "{sql[at : at + 10]}"')
    at += len(" IAM_ROLE ")
    role, at = literal(sql, at) if sql[at] == "'" else (sql[at : at + 7], at + 7)
    return Unload(query, url, role, sql[at:])


@dataclass
class Redshift:
    """What the stand-in was asked, and how it is to fail."""

    server: Server
    s3: Any
    work: Path
    url: str = ""
    throttled: int = 0  # so many calls are refused first
    hangs: bool = False  # statements stay STARTED until cancelled
    interrupts: bool = False  # this process gets SIGINT once a statement has begun, before its id is told
    held_after: int | None = None  # files of an unload; the next is begun, and written a second after a cancellation
    dies_after: int | None = None  # files of an unload, before the manifest
    damages: str = ""  # a file that is cut short once it is written
    statements: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    sql: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)

    def answer(self, action: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.calls[action] += 1
        if self.throttled > 0:
            self.throttled -= 1
            return 400, {"__type": "ThrottlingException", "message": "Rate exceeded"}
        match action:
            case "ExecuteStatement":
                return self._execute(body)
            case "DescribeStatement":
                return 200, self.statements[body["Id"]]
            case "CancelStatement":
                self.cancelled.add(body["Id"])
                if self.hangs:
                    self.statements[body["Id"]]["Status"] = "ABORTED"
                return 200, {"Status": True}
            case "GetStatementResult":
                return 200, {"Records": [], "ColumnMetadata": [], "TotalNumRows": 0}
        return 400, {"__type": "ValidationException", "message": f"no action {action}"}

    def _execute(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body.get("DbUser") == "nobody":
            return 400, {"__type": "AccessDeniedException", "message": "not authorized: redshift:GetClusterCredentials"}
        known = [one for one in self.statements.values() if one["ClientToken"] == body["ClientToken"]]
        if known:
            return 200, {"Id": known[0]["Id"]}
        number = str(uuid.uuid4())
        self.sql.append(body["Sql"])
        self.asked.append(body)
        statement = {"Id": number, "ClientToken": body["ClientToken"], "Status": "STARTED", "Duration": 0}
        self.statements[number] = statement
        if not self.hangs:
            threading.Thread(target=self._run, args=(statement, body["Sql"]), daemon=True).start()
        if self.interrupts:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1.0)
        return 200, {"Id": number}

    def _run(self, statement: dict[str, Any], sql: str) -> None:
        try:
            self._unload(parsed(sql), statement["Id"])
        except InterruptedError as error:
            statement.update(Status="ABORTED", Error=str(error))
        except (HeadraceError, ValueError) as error:
            statement.update(Status="FAILED", Error=f"ERROR: {error}")
        else:
            statement.update(Status="FINISHED", Duration=1_000_000)

    def _unload(self, asked: Unload, number: str) -> None:
        if asked.role.endswith("/denied"):
            raise ValueError(f"User is not authorized to assume IAM Role {asked.role}")
        bucket, _, prefix = asked.url.removeprefix("s3://").partition("/")
        file = self.work / f"{uuid.uuid4().hex}.parquet"
        entries: list[dict[str, Any]] = []
        try:
            query_to_parquet(self.server, asked.query, file)
            table = pq.read_table(file)
        except HeadraceError as error:
            if "gives no row" not in str(error):
                raise
            table = None
        for start in range(0, table.num_rows if table else 0, _PART):
            if number in self.cancelled:
                raise InterruptedError("Query cancelled on user's request")
            if self.dies_after is not None and len(entries) >= self.dies_after:
                raise ValueError("S3ServiceException:Internal Error,Status 500")
            if len(entries) == self.held_after:
                self._held(number)
            part, out = table.slice(start, _PART), io.BytesIO()
            pq.write_table(part, out)
            key = f"{prefix}{len(entries):04d}_part_00.parquet"
            stored = out.getvalue()[:-20] if key.endswith(self.damages or "\0") else out.getvalue()
            self.s3.put_object(Bucket=bucket, Key=key, Body=stored)
            meta = {"content_length": len(out.getvalue()), "record_count": part.num_rows}
            entries.append({"url": f"s3://{bucket}/{key}", "mandatory": True, "meta": meta})
        self.s3.put_object(Bucket=bucket, Key=f"{prefix}manifest", Body=json.dumps({"entries": entries}).encode())

    def _held(self, number: str) -> None:
        deadline = time.monotonic() + 120
        while number not in self.cancelled and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)


@contextmanager
def running(server: Server, s3: Any, work: Path) -> Iterator[Redshift]:
    """The stand-in on a free port, for the length of a block."""
    held = Redshift(server, s3, work)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            action = re.sub(r"^RedshiftData\.", "", self.headers["X-Amz-Target"])
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, told = held.answer(action, body)
            text = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    held.url = f"http://127.0.0.1:{web.server_address[1]}"
    try:
        yield held
    finally:
        web.shutdown()
        web.server_close()
