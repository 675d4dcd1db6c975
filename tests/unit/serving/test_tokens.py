"""The bearer token."""

from __future__ import annotations

import pytest

from headrace.serving.tokens import BearerToken

TOKEN = BearerToken("s3cret-ü")
GOOD = "Bearer s3cret-ü".encode()


@pytest.mark.parametrize("headers", [[GOOD], [b"bearer" + GOOD[6:]], [b"Bearer  " + GOOD[7:] + b" "]])
def test_the_token_is_admitted(headers: list[bytes]) -> None:
    assert TOKEN.admits(headers)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [b""],
        [b"Bearer"],
        [b"Bearer "],
        [GOOD[7:]],
        [b"Basic " + GOOD[7:]],
        [GOOD + b"x"],
        [GOOD[:-1]],
        [GOOD, GOOD],
        [b"Bearer " + b"x" * 100_000],
        [b"\xff\xfe \x00"],
    ],
)
def test_anything_else_is_not(headers: list[bytes]) -> None:
    assert not TOKEN.admits(headers)


def test_the_secret_itself_is_not_kept() -> None:
    assert "s3cret" not in repr(vars(TOKEN))
