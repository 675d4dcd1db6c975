"""Clients of `headrace serve`: typed answers, the token, bounded retries.

>>> with Client("http://127.0.0.1:8000") as client:             # doctest: +SKIP
...     client.lookup("segments", "17850").prediction["segment"]
"Can't Lose"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import httpx
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception_type, stop_after_delay
from tenacity.wait import wait_base, wait_random_exponential

from headrace.errors import AnswerIsNo, ConfigError, HeadraceError, InputError, TransientError
from headrace.serving.lookup import MAX_ENTITIES, Answers, NoLearner, UnknownDefinition, UnknownKey
from headrace.serving.merge import Answer
from headrace.serving.scores import Predictions

Parameters = Literal["live", "fitted"]
_IS_NO: Mapping[str, type[AnswerIsNo]] = {
    "unknown-key": UnknownKey,
    "unknown-definition": UnknownDefinition,
    "no-learner": NoLearner,
    "no-answer": AnswerIsNo,
}
# Clients rewrite these parts of a path, so they are asked for in a body.
_NOT_IN_PATHS = frozenset({"", ".", ".."})
_LONGEST_PAUSE_S = 2.0


class ServerUnavailable(TransientError):
    """The server does not answer, or says that it cannot now."""

    def __init__(self, what: str, *, found: object = None, retry_after_s: float = 0.0) -> None:
        super().__init__(what, found=found, do="try again later, or give the client a longer retry_s")
        self.retry_after_s = retry_after_s


class _Shared:
    """What both clients know: addresses, retries, and what an answer of the server means."""

    def __init__(self, url: str, token: str | None, timeout_s: float, retry_s: float) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigError("a client needs the server's address", found=repr(url), expected="http(s)://host:port")
        self._options: dict[str, Any] = {
            "base_url": url,
            "timeout": timeout_s,
            "headers": {} if token is None else {"Authorization": f"Bearer {token}"},
        }
        self._retries: dict[str, Any] = {
            "retry": retry_if_exception_type(ServerUnavailable),
            "wait": _Pause(),
            "stop": stop_after_delay(retry_s),
            "reraise": True,
        }


class Client(_Shared):
    """A client for threads. timeout_s bounds one attempt, retry_s how long attempts are repeated.

    Raises, everywhere: UnknownDefinition, InputError for what the server does not take, ConfigError for a token that
    it refuses, ServerUnavailable after `retry_s`.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = 5.0, retry_s: float = 10.0) -> None:
        super().__init__(url, token, timeout_s, retry_s)
        self._http = httpx.Client(**self._options)

    def lookup(self, definition: str, entity: str, *, as_of: datetime | None = None) -> Answer:
        """The answer for one entity; UnknownKey when there is none.

        as_of: what was answered at that past instant, which has a time zone; AnswerIsNo where nothing was.
        """
        if as_of is not None or entity in _NOT_IN_PATHS:
            return _only(definition, entity, self.lookup_many(definition, [entity], as_of=as_of))
        return Answer.from_json(self._ask("GET", _one(definition, entity)))

    def lookup_many(self, definition: str, entities: Iterable[str], *, as_of: datetime | None = None) -> Answers:
        """The answers for any number of entities, a hundred at a time; those of one hundred are of one generation.

        as_of: as for `lookup`.
        """
        return _joined([self._ask("POST", _many(definition), body) for body in _bodies(entities, as_of)])

    def predict(
        self,
        definition: str,
        records: Sequence[Mapping[str, Any]] = (),
        *,
        entities: Sequence[str] = (),
        parameters: Parameters = "live",
    ) -> Predictions:
        """What the learner says of up to 1,000 records; NoLearner when the definition has none.

        entities: up to 100, one a record: what a record leaves out is taken from its entity's features. Without
        records everything is.
        """
        body = _asked(records, entities, parameters)
        return Predictions.from_json(self._ask("POST", _predict(definition), body))

    def model(self, definition: str) -> dict[str, Any]:
        """The champion: its cut, features and learner, and the generations in the table."""
        return self._ask("GET", _model(definition))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        def attempt() -> dict[str, Any]:
            try:
                return _read(self._http.request(method, path, json=body))
            except httpx.TransportError as error:
                raise _unanswered(error) from error

        answer: dict[str, Any] = Retrying(**self._retries)(attempt)
        return answer


class AsyncClient(_Shared):
    """`Client` for an event loop."""

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = 5.0, retry_s: float = 10.0) -> None:
        super().__init__(url, token, timeout_s, retry_s)
        self._http = httpx.AsyncClient(**self._options)

    async def lookup(self, definition: str, entity: str, *, as_of: datetime | None = None) -> Answer:
        """As `Client.lookup`."""
        if as_of is not None or entity in _NOT_IN_PATHS:
            return _only(definition, entity, await self.lookup_many(definition, [entity], as_of=as_of))
        return Answer.from_json(await self._ask("GET", _one(definition, entity)))

    async def lookup_many(self, definition: str, entities: Iterable[str], *, as_of: datetime | None = None) -> Answers:
        """As `Client.lookup_many`."""
        return _joined([await self._ask("POST", _many(definition), body) for body in _bodies(entities, as_of)])

    async def predict(
        self,
        definition: str,
        records: Sequence[Mapping[str, Any]] = (),
        *,
        entities: Sequence[str] = (),
        parameters: Parameters = "live",
    ) -> Predictions:
        """As `Client.predict`."""
        body = _asked(records, entities, parameters)
        return Predictions.from_json(await self._ask("POST", _predict(definition), body))

    async def model(self, definition: str) -> dict[str, Any]:
        """As `Client.model`."""
        return await self._ask("GET", _model(definition))

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        async def attempt() -> dict[str, Any]:
            try:
                return _read(await self._http.request(method, path, json=body))
            except httpx.TransportError as error:
                raise _unanswered(error) from error

        answer: dict[str, Any] = await AsyncRetrying(**self._retries)(attempt)
        return answer


class _Pause(wait_base):
    """Exponential with full jitter, and at least what the server asks for."""

    def __init__(self) -> None:
        self._jittered = wait_random_exponential(multiplier=0.05, max=_LONGEST_PAUSE_S)

    def __call__(self, retry_state: RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome is not None else None
        asked_s = error.retry_after_s if isinstance(error, ServerUnavailable) else 0.0
        return min(asked_s, _LONGEST_PAUSE_S) + self._jittered(retry_state)


def _one(definition: str, entity: str) -> str:
    return f"/v1/predictions/{quote(definition, safe='')}/{_quoted(entity)}"


def _many(definition: str) -> str:
    return f"/v1/predictions/{quote(definition, safe='')}:batch"


def _predict(definition: str) -> str:
    return f"/v1/models/{quote(definition, safe='')}:predict"


def _model(definition: str) -> str:
    return f"/v1/models/{quote(definition, safe='')}"


def _quoted(entity: str) -> str:
    try:
        return quote(entity, safe="")
    except UnicodeEncodeError:
        raise InputError("an entity is not text", found="half of a surrogate pair", expected="valid Unicode") from None


def _bodies(entities: Iterable[str], as_of: datetime | None) -> list[dict[str, Any]]:
    asked = list(dict.fromkeys(entities))
    then = {} if as_of is None else {"as_of": as_of.isoformat()}
    return [{"entities": asked[start : start + MAX_ENTITIES], **then} for start in range(0, len(asked), MAX_ENTITIES)]


def _asked(records: Sequence[Mapping[str, Any]], entities: Sequence[str], parameters: Parameters) -> dict[str, Any]:
    return {"records": list(records), "entities": list(entities), "parameters": parameters}


def _joined(parts: Iterable[Mapping[str, Any]]) -> Answers:
    answers, missing = [], []
    for part in parts:
        answers += [Answer.from_json(told) for told in part["answers"]]
        missing += part["missing"]
    return Answers(answers, missing)


def _only(definition: str, entity: str, found: Answers) -> Answer:
    if found.missing:
        raise UnknownKey(f"{definition!r} has no prediction for entity {entity!r}")
    return found.answers[0]


def _read(response: httpx.Response) -> dict[str, Any]:
    """The JSON of an answer, or the error that its problem is."""
    if response.status_code != httpx.codes.OK:
        raise _error_of(response)
    told: dict[str, Any] = response.json()
    return told


def _error_of(response: httpx.Response) -> HeadraceError:
    try:
        problem = dict(response.json())
    except ValueError:  # a proxy's own page
        problem = {}
    status, detail = response.status_code, str(problem.get("detail", response.reason_phrase))
    slug = str(problem.get("type", "")).rpartition(":")[2]
    if slug in _IS_NO:
        return _IS_NO[slug](detail)
    if status in (401, 403):
        return ConfigError("the server refuses this token", found=detail, do="give the client the server's token")
    if status in (408, 429, 502, 503, 504):
        after = response.headers.get("Retry-After", "")
        seconds = float(after) if after.isdigit() else 0.0
        return ServerUnavailable("the server cannot answer now", found=f"{status}: {detail}", retry_after_s=seconds)
    if 400 <= status < 500:
        fields = "".join(f"; {one['field']}: {one['message']}" for one in problem.get("errors") or ())
        return InputError("the server does not take this request", found=f"{status}: {detail}{fields}")
    return HeadraceError("the server failed", found=f"{status}: {detail}, request {problem.get('request_id')}")


def _unanswered(error: httpx.TransportError) -> ServerUnavailable:
    return ServerUnavailable("the server does not answer", found=f"{type(error).__name__}: {error}")
