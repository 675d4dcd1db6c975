"""The HTTP API: routes, what each needs, and the look-ups behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import APIRouter, FastAPI, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

import headrace
from headrace.config import Settings
from headrace.errors import ConfigError, HeadraceError, StoreError, StoreUnavailable
from headrace.serving import problems
from headrace.serving.admission import Admission, Observation
from headrace.serving.answering import Answering
from headrace.serving.console import Ask, Console, NoQuery, add_console
from headrace.serving.health import Readiness
from headrace.serving.metrics import CONTENT_TYPE, Metrics
from headrace.serving.overview import Watched
from headrace.serving.pointers import Pointers
from headrace.serving.predictions import Predictions, ShortCut
from headrace.serving.problems import Problem, Refusal
from headrace.serving.reading import reader_of
from headrace.serving.rehearsal import Rehearsal
from headrace.serving.requested import BatchRequest, PredictionQuery, PredictRequest
from headrace.serving.respond import json_response
from headrace.serving.rules import RULES, check_rules
from headrace.serving.sampled import AnswerLog
from headrace.serving.schema import describe_api
from headrace.serving.tokens import Tokens
from headrace.serving.views import Views
from headrace.serving.watch import Watch

if TYPE_CHECKING:
    from headrace.serving.past import Past, Pasts

T = TypeVar("T")

MOST_INSIDE = 512  # requests that may wait for the store at once
# What the console asks waits on the store in this many threads; as many again times QUEUE may wait for a thread.
CONSOLE_THREADS = 8
QUEUE = 16


class AnswerBody(BaseModel):
    """A prediction with the features it was made of, the generation that made it, and how old it is."""

    definition: str
    entity: str
    prediction: dict[str, Any]
    features: dict[str, Any]
    layer: Literal["batch", "speed"]
    generation: int = Field(description="The champion: its parameters and its cut apply.")
    vector: list[list[Any]] = Field(
        description="[stream incarnation, partition, next position]: everything below is counted."
    )
    as_of: str = Field(description="Arrival time up to which everything is counted, ISO 8601 UTC.")
    age_s: float
    stale: bool = Field(description="Whether the answer is older than the definition's max_age.")


class AnswersBody(BaseModel):
    """Answers of one generation, and the entities that have none; an entity named twice is answered once."""

    answers: list[AnswerBody]
    missing: list[str]


class SetAside(BaseModel):
    """A record that was not scored."""

    record: int = Field(description="Its place among the records, from 0.")
    reason: str


class OutsideTraining(BaseModel):
    """A value beyond what any training sample had; its record is scored all the same."""

    record: int
    field: str
    found: float
    trained: list[float] = Field(description="The least and the greatest value that was trained on.")


class PredictionsBody(BaseModel):
    """One prediction a record; null for one that is quarantined, and for an entity without features."""

    definition: str
    predictions: list[dict[str, Any] | None]
    quarantined: list[SetAside] = Field(description="Records set aside for a category that no sample had.")
    generation: int
    vector: list[list[Any]] = Field(description="What is counted of every entity.")
    parameters_vector: list[list[Any]] = Field(description="What is counted in the parameters.")
    as_of: str
    age_s: float
    stale: bool
    outside: list[OutsideTraining]
    missing: list[str] = Field(description="Entities that have no features.")


def create_app(settings: Settings, store: Watched, clock: Callable[[], datetime], token: str | None) -> FastAPI:
    """The ASGI app over an open (or opening) store; the caller closes the store.

    token: one that allows everything. Raises ConfigError when the settings require a token and there is none.
    """
    tokens = _tokens(settings, clock, token) if settings.serve.require_token else None
    serve = settings.serve
    reader = reader_of(store, serve.store_timeout_s / 2)
    pointers = Pointers(reader, serve.champion_cache_s, serve.store_timeout_s)
    views = Views(serve.view, reader, pointers, serve.view_refresh_s, serve.view_max_age_s)
    answering = Answering(
        reader,
        pointers,
        views,
        clock,
        cache_s=serve.champion_cache_s,
        timeout_s=serve.store_timeout_s,
        when_down=serve.store_down,
    )
    answers = AnswerLog(settings.answers, serve.logged_share) if serve.logged_share else None
    rehearsal = Rehearsal(
        reader, clock, share=serve.shadow_share, cache_s=serve.champion_cache_s, timeout_s=serve.store_timeout_s
    )
    metrics = Metrics(pointers.all, views, clock, answers, rehearsal)
    readiness = Readiness(reader)
    watch = Watch(store, clock, serve.watch_s)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(beside) for beside in (readiness.check(), views.run(), watch.run(), rehearsal.run())
        ]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await reader.close()
        if answers is not None:
            await anyio.to_thread.run_sync(answers.close)

    app = FastAPI(
        title="headrace",
        version=headrace.__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        openapi_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # asked for at every request; we have our own
        lifespan=lifespan,
    )
    predictions = Predictions(
        answering,
        metrics,
        watch.answered,
        clock,
        past=_pasts(settings),
        log=answers,
        rehearsal=rehearsal if serve.shadow_share else None,
        most=MOST_INSIDE,
    )
    app.router.routes.extend(predictions.routes())
    add_console(app, Console(store, watch, rehearsal.told, clock), _asking(metrics))
    _add_operations(app, readiness, metrics)
    problems.install(app)
    describe_api(app, [*DESCRIBED.routes, *app.routes], {(rule.method, rule.path): rule.scope for rule in RULES})
    # The layer added last is the outermost.
    app.add_middleware(ShortCut, predictions=predictions)
    app.add_middleware(
        Admission,
        tokens=tokens,
        max_body_bytes=settings.serve.max_body_bytes,
    )
    app.add_middleware(Observation, answered=metrics.answered)
    check_rules(app)
    return app


def _pasts(settings: Settings) -> Callable[[str], Past | None]:
    """The pasts of definitions, whose code brings NumPy and Arrow and so is loaded when a past is first asked for.

    What the settings name is loaded at once, so that a wrong name keeps the server from starting.
    """

    @cache
    def pasts() -> Pasts:
        from headrace.registry import Registry
        from headrace.serving.past import Pasts

        return Pasts(settings.lake, Registry(settings.registry), settings.serve.past)

    if settings.serve.past:
        pasts()
    return lambda definition: pasts().of(definition)


def _tokens(settings: Settings, clock: Callable[[], datetime], token: str | None) -> Tokens:
    if not token and not settings.serve.token_file:
        raise ConfigError(
            "serving requires a token and there is none",
            do=f"set the secret {settings.serve.token_secret!r}, or name a file of hashes in serve.token_file",
        )
    return Tokens(token, Path(settings.serve.token_file) if settings.serve.token_file else None, clock)


def _asking(metrics: Metrics) -> Ask:
    """What runs a question to the store in one of CONSOLE_THREADS threads, and refuses it where too many wait."""
    threads = CapacityLimiter(CONSOLE_THREADS)
    most = CONSOLE_THREADS * (1 + QUEUE)
    inside = 0

    async def ask(question: Callable[..., T], *arguments: Any) -> T:
        nonlocal inside
        if inside >= most:
            headers = {"Retry-After": str(problems.RETRY_AFTER_S)}
            raise Refusal(503, "overloaded", "too many requests wait for the store; try again", headers)
        inside += 1
        try:
            return await anyio.to_thread.run_sync(question, *arguments, limiter=threads)
        except HeadraceError as error:
            if isinstance(error, StoreUnavailable | StoreError):
                metrics.store_failed(error)
            raise
        finally:
            inside -= 1

    return ask


# How OpenAPI is told of the routes of `Predictions`; these functions are never called.
DESCRIBED = APIRouter()


@DESCRIBED.get("/v1/predictions/{definition}/{entity:key}", response_model=AnswerBody)
def prediction(definition: str, entity: str, query: Annotated[PredictionQuery, Query()]) -> None:
    """The answer for one entity. Keys with `.` or `..` as a path segment are asked for through `:batch`."""


@DESCRIBED.post("/v1/predictions/{definition}:batch", response_model=AnswersBody)
def batch(definition: str, request: BatchRequest) -> None:
    """The answers for up to 100 entities, all of one generation."""


@DESCRIBED.post("/v1/models/{definition}:predict", response_model=PredictionsBody)
def predict(definition: str, request: PredictRequest) -> None:
    """What the learner says of records, or of entities' features, by parameters that the stream keeps live."""


@DESCRIBED.get("/v1/models/{definition}", response_model=dict[str, Any])
def model(definition: str, query: Annotated[NoQuery, Query()]) -> None:
    """The champion of a definition: its cut, its features and learner, and the generations in the table."""


def _add_operations(app: FastAPI, readiness: Readiness, metrics: Metrics) -> None:
    @app.get("/healthz", response_model=dict[str, str])
    async def healthz() -> Response:
        """The process answers."""
        return json_response({"status": "ok"})

    @app.get("/readyz", response_model=dict[str, str])
    async def readyz() -> Response:
        """The store answers too."""
        if not await readiness.check():
            raise problems.unavailable()
        return json_response({"status": "ready"})

    @app.get("/openapi.json", include_in_schema=False)
    async def description() -> Response:
        """The OpenAPI description of this server."""
        return json_response(app.openapi())

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def scrape() -> Response:
        """Prometheus metrics."""
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE})


__all__ = ["Problem", "create_app"]
