"""The console: a page for people over JSON routes for programs, all of them read-only."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Annotated, Any

from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

import headrace
from headrace.serving.arbitration import Explanation, explain
from headrace.serving.lookup import UnknownDefinition, check_key
from headrace.serving.merge import iso
from headrace.serving.overview import Standing, Watched, served_now
from headrace.serving.respond import json_response
from headrace.serving.watch import Watch
from headrace.stores.port import Held

Ask = Callable[..., Awaitable[Any]]

# However many people look, the store is asked for a definition's standing at most this often.
STANDING_S = 2.0
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/console/console.css": ("console.css", "text/css; charset=utf-8"),
    "/console/console.js": ("console.js", "text/javascript; charset=utf-8"),
    "/console/charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "/console/icon.svg": ("icon.svg", "image/svg+xml"),
}
# Nothing from anywhere else, nothing inline, in no frame; what the page asks for, it asks this server for.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class NoQuery(BaseModel):
    """No parameters."""

    model_config = ConfigDict(extra="forbid")


class DefinitionLine(BaseModel):
    """A definition in the list; `generation` is the champion, None before the first promotion."""

    definition: str
    generation: int | None
    generations: int = Field(description="How many this table's ledger has.")
    newest: int
    as_of: str | None
    age_s: float | None
    max_age_s: float | None
    stale: bool | None
    lag: int | None = Field(description="Records of the stream not counted yet; None where no stream was heard.")


class ServerBody(BaseModel):
    """The process that answers."""

    version: str
    now: str


class DefinitionsBody(BaseModel):
    """Every definition that was published to the store."""

    definitions: list[DefinitionLine]
    server: ServerBody


class ReportBody(BaseModel):
    """What a command found out, and kept in the store."""

    kind: str = Field(examples=["run", "verify", "compare"])
    at: str
    generation: int
    ok: bool | None
    summary: str
    facts: dict[str, Any]


class ReportsBody(BaseModel):
    """Reports, newest first; of each kind the latest ten."""

    reports: list[ReportBody]


class CandidateBody(BaseModel):
    """One item, or a version in it, that could have answered."""

    layer: str
    generation: int
    taken: bool
    counts: bool = Field(description="Whether readers look at it at all.")
    why: str
    tombstone: bool
    writes: int | None
    vector: list[list[Any]] | None


class ExplanationBody(BaseModel):
    """The answer for an entity, None where it has none, and what it was chosen from."""

    definition: str
    entity: str
    verdict: str
    answer: dict[str, Any] | None
    pointer: dict[str, Any]
    candidates: list[CandidateBody]


@dataclass(frozen=True)
class _Read:
    standing: Standing
    at: float


class Console:
    """What the console's routes answer; safe to use from many threads.

    rehearsed: how a definition's challenger scores beside its champion, None where it does not.
    """

    def __init__(
        self,
        store: Watched,
        watch: Watch,
        rehearsed: Callable[[str], dict[str, Any] | None],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._watch = watch
        self._rehearsed = rehearsed
        self._clock = clock
        self._lock = threading.Lock()
        self._standings: dict[str, _Read] = {}

    def definitions(self) -> dict[str, Any]:
        """Every definition, and who answers. Raises StoreUnavailable."""
        now = self._clock()
        lines = []
        for name in self._store.definitions():
            with suppress(UnknownDefinition):  # its first publication is just being opened
                lines.append(self._standing(name).summary(now))
        return {"definitions": lines, "server": {"version": headrace.__version__, "now": iso(now)}}

    def definition(self, name: str) -> dict[str, Any]:
        """How a definition stands, and what this process saw of it. Raises UnknownDefinition, StoreUnavailable."""
        seen = {"observed": self._watch.told(name), "shadow": self._rehearsed(name)}
        return {**self._standing(name).detail(self._clock()), **seen}

    def reports(self, name: str) -> dict[str, Any]:
        """Raises UnknownDefinition, StoreUnavailable."""
        self._standing(name)
        return {"reports": [report.to_json() for report in self._store.reports(name)]}

    def explanation(self, definition: str, entity: str) -> Explanation:
        """Raises UnknownDefinition, InputError for what cannot be a key, StoreUnavailable."""
        check_key(definition, entity)
        served = served_now(self._store, definition)
        held = self._store.read_speed(definition, served.generation.number, [entity])
        return explain(definition, entity, served, held.get(entity, Held()), now=self._clock())

    def _standing(self, name: str) -> Standing:
        with self._lock:
            read = self._standings.get(name)
        if read is None or time.monotonic() - read.at >= STANDING_S:
            check_key(name, "")
            read = _Read(Standing.of(self._store, name), time.monotonic())
            with self._lock:
                self._standings[name] = read
        return read.standing


def add_console(app: FastAPI, console: Console, ask: Ask) -> None:
    """The console's page and the routes it reads. ask: runs a question to the store in a thread of its own."""

    @app.get("/v1/definitions", response_model=DefinitionsBody)
    async def definitions(_: Annotated[NoQuery, Query()]) -> Response:
        """Every definition in the store: its champion, how old its answers are, what its stream has not counted."""
        return json_response(await ask(console.definitions))

    @app.get("/v1/definitions/{definition}", response_model=dict[str, Any])
    async def definition(definition: str, _: Annotated[NoQuery, Query()]) -> Response:
        """One definition: aliases, cut, every generation, and what this process has seen of it since it began."""
        return json_response(await ask(console.definition, definition))

    @app.get("/v1/definitions/{definition}/reports", response_model=ReportsBody)
    async def reports(definition: str, _: Annotated[NoQuery, Query()]) -> Response:
        """What runs, proofs and comparisons found out, newest first."""
        return json_response(await ask(console.reports, definition))

    @app.get("/v1/explanations/{definition}/{entity:key}", response_model=ExplanationBody)
    async def explanation(definition: str, entity: str, _: Annotated[NoQuery, Query()]) -> Response:
        """The answer for one entity with every item it was chosen from, and why; an unknown entity is explained too."""
        return json_response((await ask(console.explanation, definition, entity)).to_json())

    for path, (name, media_type) in _FILES.items():
        _add_file(app, path, name, media_type)


def _add_file(app: FastAPI, path: str, name: str, media_type: str) -> None:
    content = resources.files("headrace.serving").joinpath("page", name).read_bytes()

    @app.get(path, include_in_schema=False)
    async def file() -> Response:
        return Response(content, headers=_HEADERS, media_type=media_type)
