"""The HTTP API under requests made from its own description, and under keys that nobody would think of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from overseen import overseen
from published import NOW, learned, promote, publish, version
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
)
from served import AUTHORIZED, TOKEN, serving

from headrace.config import load
from headrace.serving.api import create_app
from headrace.serving.problems import MEDIA_TYPE

EXAMPLES = 12  # of each operation
DEFINITIONS = ("segments", "trips", "rides", "nothing")


def no_fault_of_the_server(context: Any, response: Any, case: Any) -> None:
    """501 is an answer: the server has not the code of every definition whose past is asked for."""
    assert response.status_code < 500 or response.status_code == 501, response.text


CHECKS = (
    no_fault_of_the_server,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    ignored_auth,
)
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None, "derandomize": True}


def made() -> Any:
    store = overseen()
    publish(store, "trips", 1, {"a": version(1, 1)}, **learned())
    promote(store, "trips", 1)
    return create_app(load(["serve.require_token=true", "serve.watch_s=0"], "local"), store, lambda: NOW, TOKEN)


APP = made()
schema = schemathesis.openapi.from_dict(APP.openapi())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(APP) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers=AUTHORIZED, timeout=10) as opened:
        yield opened


@schema.parametrize()
@settings(max_examples=EXAMPLES, **QUIET)
def test_it_answers_as_it_is_described(case: schemathesis.Case, url: str) -> None:
    if case.path_parameters and "definition" in case.path_parameters:
        # Of all texts few name a definition, and what lies behind it should be reached as well.
        case.path_parameters["definition"] = DEFINITIONS[len(str(case.path_parameters)) % len(DEFINITIONS)]
    case.call_and_validate(base_url=url, headers=AUTHORIZED, checks=CHECKS)


@settings(max_examples=60, **QUIET)
@given(entity=st.text(), raw=st.binary(max_size=64), definition=st.sampled_from(DEFINITIONS))
def test_any_key_is_answered_or_refused_in_order(
    client: httpx.Client, entity: str, raw: bytes, definition: str
) -> None:
    body = json.dumps({"entities": [entity, "17850"]})
    headers = {"Content-Type": "application/json"}
    answers = [
        client.post(f"/v1/predictions/{definition}:batch", content=body, headers=headers),
        client.post(f"/v1/predictions/{definition}:batch", content=raw, headers=headers),
        client.post(f"/v1/models/{definition}:predict", content=raw, headers=headers),
        *(
            client.get(client.base_url.copy_with(raw_path=f"/v1/{kind}/{definition}/".encode() + quoted(raw)))
            for kind in ("predictions", "explanations")
        ),
    ]
    for answer in answers:
        assert answer.status_code in (200, 400, 404, 422), answer.text
        kind = "application/json" if answer.status_code == 200 else MEDIA_TYPE
        assert answer.headers["content-type"] == kind
        assert "Traceback" not in answer.text


def quoted(raw: bytes) -> bytes:
    """Any bytes as a path, valid UTF-8 or not."""
    return b"".join(b"%%%02X" % byte for byte in raw)
