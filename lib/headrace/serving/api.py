"""The HTTP API: routes, what each needs, and the look-ups behind them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import FastAPI, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response

import headrace
from headrace.config import Settings
from headrace.errors import ConfigError, HeadraceError, StoreError, StoreUnavailable
from headrace.serving import problems
from headrace.serving.admission import Admission, Observation
from headrace.serving.health import Readiness
from headrace.serving.lookup import MAX_ENTITIES, Lookups, Readable
from headrace.serving.metrics import CONTENT_TYPE, Metrics
from headrace.serving.problems import Problem, Refusal
from headrace.serving.schema import describe_api
from headrace.serving.scoring import MAX_RECORDS
from headrace.serving.tokens import BearerToken

T = TypeVar("T")

# Look-ups wait on the store in this many threads; as many again times QUEUE may wait for a thread.
LOOKUP_THREADS = 32
QUEUE = 16


class KeyConvertor(Convertor[str]):
    """The rest of a path, whatever it holds; Starlette's own `path` stops at a line break."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("key", KeyConvertor())


@dataclass(frozen=True)
class Rule:
    """Who may call a route."""

    method: str
    path: str
    access: Literal["open", "token"]


# Every route of the server; one that is not here makes `create_app` fail.
RULES = (
    Rule("GET", "/v1/predictions/{definition}/{entity:key}", "token"),
    Rule("POST", "/v1/predictions/{definition}:batch", "token"),
    Rule("GET", "/v1/models/{definition}", "token"),
    Rule("POST", "/v1/models/{definition}:predict", "token"),
    Rule("GET", "/openapi.json", "token"),
    Rule("GET", "/metrics", "token"),
    Rule("GET", "/healthz", "open"),
    Rule("GET", "/readyz", "open"),
)


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


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BatchRequest(_Strict):
    """Up to 100 entities, exactly as they are stored."""

    entities: list[str] = Field(max_length=MAX_ENTITIES, examples=[["17850", "13047"]])
    as_of: AwareDatetime | None = Field(None, description="Not available yet: answered with 501.")


class PredictRequest(_Strict):
    """Up to 1,000 records, each with exactly the learner's inputs, finite numbers."""

    records: list[dict[str, Any]] = Field(max_length=MAX_RECORDS, examples=[[{"temperature": 0.24, "humidity": 0.81}]])
    parameters: Literal["live", "fitted"] = Field(
        "live", description="live: as the samples since training have moved them; fitted: the generation's own."
    )


class SetAside(BaseModel):
    """A record that was not scored."""

    record: int = Field(description="Its place among the records, from 0.")
    reason: str


class PredictionsBody(BaseModel):
    """One prediction a record; null for one that is quarantined."""

    definition: str
    predictions: list[dict[str, Any] | None]
    quarantined: list[SetAside] = Field(description="Records set aside for a category that no sample had.")
    generation: int
    vector: list[list[Any]] = Field(description="What is counted of every entity.")
    parameters_vector: list[list[Any]] = Field(description="What is counted in the parameters.")
    as_of: str
    age_s: float
    stale: bool


class PredictionQuery(_Strict):
    as_of: AwareDatetime | None = Field(None, description="Not available yet: answered with 501.")


class ModelQuery(_Strict):
    """No parameters."""


def create_app(settings: Settings, store: Readable, clock: Callable[[], datetime], token: str | None) -> FastAPI:
    """The ASGI app over an open (or opening) store; the caller closes the store.

    Raises ConfigError when the settings require a token and there is none.
    """
    if settings.serve.require_token and not token:
        raise ConfigError(
            "serving requires a token and there is none", do=f"set the secret {settings.serve.token_secret!r}"
        )
    lookups = Lookups(store, settings.serve.champion_cache_s, clock)
    metrics = Metrics(lookups, clock)
    readiness = Readiness(store)
    bearer = BearerToken(token) if settings.serve.require_token and token else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.create_task(readiness.check())
        yield
        warming.cancel()

    app = FastAPI(
        title="headrace",
        version=headrace.__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        openapi_url=None,
        lifespan=lifespan,
    )
    _add_predictions(app, lookups, metrics, clock)
    _add_operations(app, readiness, metrics)
    problems.install(app)
    describe_api(app, {(rule.method, rule.path) for rule in RULES if rule.access == "token"})
    # The layer added last is the outermost.
    app.add_middleware(
        Admission,
        token=bearer,
        open_paths=frozenset(r.path for r in RULES if r.access == "open"),
        max_body_bytes=settings.serve.max_body_bytes,
    )
    app.add_middleware(Observation, answered=metrics.answered)
    _check_rules(app)
    return app


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    """(method, path template) of every route the app answers."""
    return {(method, route.path) for route in app.routes for method in getattr(route, "methods", None) or {"*"}}  # type: ignore[attr-defined]


def _check_rules(app: FastAPI) -> None:
    declared = {(rule.method, rule.path) for rule in RULES}
    if routes_of(app) != declared:
        raise AssertionError(f"routes and their rules differ: {sorted(routes_of(app) ^ declared)}")
    if any("{" in rule.path for rule in RULES if rule.access == "open"):
        raise AssertionError("an open route must be one exact path")


def _add_predictions(app: FastAPI, lookups: Lookups, metrics: Metrics, clock: Callable[[], datetime]) -> None:
    threads = CapacityLimiter(LOOKUP_THREADS)

    most = LOOKUP_THREADS * (1 + QUEUE)
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

    @app.get("/v1/predictions/{definition}/{entity:key}", response_model=AnswerBody)
    async def prediction(definition: str, entity: str, query: Annotated[PredictionQuery, Query()]) -> Response:
        """The answer for one entity. Keys with `.` or `..` as a path segment are asked for through `:batch`."""
        _refuse_as_of(query.as_of)
        return _json((await ask(lookups.one, definition, entity)).to_json())

    @app.post("/v1/predictions/{definition}:batch", response_model=AnswersBody)
    async def predictions(definition: str, request: BatchRequest) -> Response:
        """The answers for up to 100 entities, all of one generation."""
        _refuse_as_of(request.as_of)
        found = await ask(lookups.many, definition, request.entities)
        return _json({"answers": [a.to_json() for a in found.answers], "missing": found.missing})

    @app.post("/v1/models/{definition}:predict", response_model=PredictionsBody)
    async def predict(definition: str, request: PredictRequest) -> Response:
        """What the learner says of records, by parameters that the stream keeps live."""
        scorer = await ask(partial(lookups.scorer, live=request.parameters == "live"), definition)
        return _json((await ask(partial(scorer.predict, now=clock()), request.records)).to_json())

    @app.get("/v1/models/{definition}", response_model=dict[str, Any])
    async def model(definition: str, _: Annotated[ModelQuery, Query()]) -> Response:
        """The champion of a definition: its cut, its features and learner, and the generations in the table."""
        return _json(await ask(lookups.model, definition))


def _add_operations(app: FastAPI, readiness: Readiness, metrics: Metrics) -> None:
    @app.get("/healthz", response_model=dict[str, str])
    async def healthz() -> Response:
        """The process answers."""
        return _json({"status": "ok"})

    @app.get("/readyz", response_model=dict[str, str])
    async def readyz() -> Response:
        """The store answers too."""
        if not await readiness.check():
            raise problems.unavailable()
        return _json({"status": "ready"})

    @app.get("/openapi.json", include_in_schema=False)
    async def description() -> Response:
        """The OpenAPI description of this server."""
        return _json(app.openapi())

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def scrape() -> Response:
        """Prometheus metrics."""
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def _refuse_as_of(as_of: datetime | None) -> None:
    if as_of is not None:
        raise Refusal(501, "not-available-yet", "as-of look-ups are not available yet; leave as_of out")


def _json(content: Any) -> Response:
    body = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Response(body, media_type="application/json")


__all__ = ["RULES", "Problem", "create_app", "routes_of"]
