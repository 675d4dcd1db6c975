"""The routes that answer: plain Starlette routes, since they are the ones that are asked thousands of times a second.

What FastAPI would do for each request (find dependencies, build and check models, serialise them) costs several times
the look-up. `api` describes these routes for OpenAPI with the models that are used here.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio.to_thread
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.errors import DefinitionError, HeadraceError, RegistryError, StoreError, StoreUnavailable
from headrace.serving import problems
from headrace.serving.answering import Answering, Found, Missed
from headrace.serving.console import NoQuery
from headrace.serving.lookup import checked, past, unknown
from headrace.serving.metrics import Metrics
from headrace.serving.problems import Refusal
from headrace.serving.rehearsal import Rehearsal
from headrace.serving.rendering import Rendering
from headrace.serving.requested import BatchRequest, PredictionQuery, PredictRequest, body_of, query_of
from headrace.serving.respond import json_response
from headrace.serving.sampled import AnswerLog, logged

if TYPE_CHECKING:
    from headrace.serving.past import Past

log = logging.getLogger(__name__)
T = TypeVar("T")
LOOK_UP = "/v1/predictions/"
INLINE_RECORDS = 32  # as many are scored within a millisecond or so; more of them go to a thread


class KeyConvertor(Convertor[str]):
    """The rest of a path, whatever it holds; Starlette's own `path` stops at a line break."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("key", KeyConvertor())


class Predictions:
    """Look-ups and scores over HTTP.

    answered: is told how many answers of a definition each layer gave. past: the past of a definition, None where the
    server has not its code. log: where a share of the answers goes. rehearsal: where the challenger scores a share of
    the records. most: how many requests may be inside at once; beyond it they are refused.
    """

    def __init__(
        self,
        answering: Answering,
        metrics: Metrics,
        answered: Callable[[str, Mapping[str, int]], None],
        clock: Callable[[], datetime],
        *,
        past: Callable[[str], Past | None],
        log: AnswerLog | None,
        rehearsal: Rehearsal | None,
        most: int,
    ) -> None:
        self._answering = answering
        self._answered = answered
        self._metrics = metrics
        self._clock = clock
        self._past = past
        self._log = log
        self._rehearsal = rehearsal
        self._most = most
        self._inside = 0
        self.look_up = _Route("GET", f"{LOOK_UP}{{definition}}/{{entity:key}}", self.one)

    def routes(self) -> list[Route]:
        return [
            self.look_up,
            _Route("POST", "/v1/predictions/{definition}:batch", self.many),
            _Route("POST", "/v1/models/{definition}:predict", self.predict),
            _Route("GET", "/v1/models/{definition}", self.model),
        ]

    async def one(self, request: Request) -> Response:
        definition, entity = request.path_params["definition"], request.path_params["entity"]
        as_of = query_of(request, PredictionQuery).as_of
        if as_of is None:
            return _json(await self.told(definition, entity))
        answers, missing = await self._then(definition, [entity], as_of)
        if missing:
            raise unknown(definition, entity)
        return json_response(answers[0])

    async def told(self, definition: str, entity: str) -> str:
        """The answer for one entity, as JSON."""
        found, missing = await self._ask(self._answering.many(definition, [entity]))
        self._logged(definition, found, missing)
        if missing:
            raise unknown(definition, entity)
        self._answered(definition, {found[0].chosen.layer: 1})
        return Rendering(definition, self._clock()).one(found[0])

    async def many(self, request: Request) -> Response:
        asked = await body_of(request, BatchRequest)
        definition = request.path_params["definition"]
        if asked.as_of is not None:
            answers, unanswered = await self._then(definition, asked.entities, asked.as_of)
            return json_response({"answers": answers, "missing": unanswered})
        found, missing = await self._ask(self._answering.many(definition, asked.entities))
        self._logged(definition, found, missing)
        self._answered(definition, {**Counter(one.chosen.layer for one in found), "missing": len(missing)})
        return _json(Rendering(definition, self._clock()).many(found, missing))

    async def predict(self, request: Request) -> Response:
        asked = await body_of(request, PredictRequest)
        definition = request.path_params["definition"]
        live, records = asked.parameters == "live", list[Mapping[str, Any] | None](asked.records)
        missing: list[str] = []
        if asked.entities:
            completed = self._answering.completed(definition, asked.records, asked.entities, live=live)
            scorer, records = await self._ask(completed)
            absent = (entity for entity, one in zip(asked.entities, records, strict=True) if one is None)
            missing = list(dict.fromkeys(absent))
        else:
            scorer = await self._ask(self._answering.scorer(definition, live=live))
        score = partial(scorer.predict, records, now=self._clock())
        done = score() if len(records) <= INLINE_RECORDS else await anyio.to_thread.run_sync(score)
        if self._rehearsal is not None:
            self._rehearsal.offer(definition, scorer.served, records, done, live=live)
        return json_response(replace(done, missing=missing).to_json())

    async def model(self, request: Request) -> Response:
        query_of(request, NoQuery)
        return json_response(await self._ask(self._answering.model(request.path_params["definition"])))

    async def _then(self, definition: str, entities: list[str], at: datetime) -> tuple[list[dict[str, Any]], list[str]]:
        """What was answered then of the entities, and those that had no answer; recomputed in a thread."""
        asked, then, held = checked(definition, entities), past(at, self._clock()), self._past(definition)
        if held is None:
            detail = f"{definition!r} is not among the definitions whose past is answered (serve.past)"
            raise Refusal(501, "not-available", detail)
        try:
            answers, missing = await self._ask(anyio.to_thread.run_sync(held.many, asked, then))
        except (DefinitionError, RegistryError) as error:
            log.warning("an answer as of %s cannot be recomputed: %s", at, error)
            raise Refusal(501, "not-available", "the generation of then cannot be recomputed here any more") from None
        return [answer.to_json() for answer in answers], missing

    def _logged(self, definition: str, found: Iterable[Found], missing: Iterable[Missed]) -> None:
        if self._log is not None:
            now = self._clock()
            ones: list[Found | Missed] = [*found, *missing]
            for one in ones:
                self._log.offer(definition, partial(logged, one, now))

    async def _ask(self, answer: Coroutine[Any, Any, T]) -> T:
        """The answer, unless too many wait for theirs already."""
        if self._inside >= self._most:
            answer.close()
            headers = {"Retry-After": str(problems.RETRY_AFTER_S)}
            raise Refusal(503, "overloaded", "too many requests wait for the store; try again", headers)
        self._inside += 1
        try:
            return await answer
        except (StoreUnavailable, StoreError) as error:
            self._metrics.store_failed(error)
            raise
        finally:
            self._inside -= 1


class ShortCut:
    """An ASGI layer that answers plain look-ups of one key itself; everything else is passed on.

    Between here and the route that would answer them are a stack of layers and a list of patterns, which cost as much
    as the answer.
    """

    def __init__(self, app: ASGIApp, predictions: Predictions) -> None:
        self._app = app
        self._predictions = predictions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and not scope["query_string"]:
            path: str = scope["path"]
            definition, slash, entity = path[len(LOOK_UP) :].partition("/")
            if slash and definition and path.startswith(LOOK_UP):
                scope["route"], scope["path_params"] = self._predictions.look_up, {"definition": definition}
                try:
                    body = (await self._predictions.told(definition, entity)).encode()
                except (HeadraceError, Refusal) as error:
                    response = await problems.response_to(Request(scope), error)
                    await response(scope, receive, send)
                    return
                headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": body})
                return
        await self._app(scope, receive, send)


class _Route(Route):
    """A route of one method (Starlette would answer HEAD too) that names itself to the log and the metrics."""

    def __init__(self, method: str, path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> None:
        super().__init__(path, endpoint, methods=[method])
        self.methods = {method}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, found if match is Match.NONE else {**found, "route": self}


def _json(text: str) -> Response:
    return Response(text.encode(), media_type="application/json")
