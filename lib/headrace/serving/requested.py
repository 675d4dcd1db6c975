"""What requests may hold, and reading it of them."""

from __future__ import annotations

import json
from typing import Any, Literal, Self, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.exceptions import HTTPException
from starlette.requests import Request

from headrace.serving.lookup import MAX_ENTITIES, MAX_RECORDS

M = TypeVar("M", bound=BaseModel)
AS_OF = "What was answered at this instant, with its time zone; 501 for a definition whose code the server has not."


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BatchRequest(_Strict):
    """Up to 100 entities, exactly as they are stored."""

    entities: list[str] = Field(max_length=MAX_ENTITIES, examples=[["17850", "13047"]])
    as_of: AwareDatetime | None = Field(None, description=AS_OF)


class PredictRequest(_Strict):
    """Up to 1,000 records, each with exactly the learner's inputs: finite numbers, and texts where training had texts.

    With entities, one a record: what a record leaves out is taken from its entity's features.
    """

    records: list[dict[str, Any]] = Field(
        default_factory=list,
        max_length=MAX_RECORDS,
        description="May be left out with entities: then everything is taken from their features.",
        examples=[[{"temperature": 0.24, "humidity": 0.81}]],
    )
    entities: list[str] = Field(
        default_factory=list, max_length=MAX_ENTITIES, description="Whose features complete the records, in order."
    )
    parameters: Literal["live", "fitted"] = Field(
        "live", description="live: as the samples since training have moved them; fitted: the generation's own."
    )

    @model_validator(mode="after")
    def _something_to_score(self) -> Self:
        if not {"records", "entities"} & self.model_fields_set:
            raise ValueError("the request needs records, entities or both")
        if self.records and self.entities and len(self.records) != len(self.entities):
            raise ValueError(f"{len(self.records)} records and {len(self.entities)} entities; there must be as many")
        return self


class PredictionQuery(_Strict):
    as_of: AwareDatetime | None = Field(None, description=AS_OF)


def query_of(request: Request, model: type[M]) -> M:
    """The query as declared; RequestValidationError names what is not."""
    if not request.scope["query_string"]:
        return model()
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise _not_as_declared(error, "query") from None


async def body_of(request: Request, model: type[M]) -> M:
    """The JSON body as declared; RequestValidationError names what is not."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    content = await request.body()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise RequestValidationError([{"type": "not_json", "loc": ("body",), "msg": "the body must be sent as JSON"}])
    try:
        return model.model_validate(json.loads(content))
    except ValidationError as error:
        raise _not_as_declared(error, "body") from None
    except RecursionError:
        raise HTTPException(400, "the body nests too deep") from None
    except ValueError as error:  # of JSON and of UTF-8
        detail = f"the body is not JSON: {error}"
        raise RequestValidationError([{"type": "json_invalid", "loc": ("body",), "msg": detail}]) from None


def _not_as_declared(error: ValidationError, part: str) -> RequestValidationError:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return RequestValidationError([{**one, "loc": (part, *one["loc"])} for one in found])
