"""JSON answers."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response


def json_response(content: Any) -> Response:
    """Compact JSON; what is not finite is an error here, and never leaves as NaN."""
    body = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Response(body, media_type="application/json")
