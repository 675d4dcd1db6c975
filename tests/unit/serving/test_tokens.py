"""Bearer tokens: what is admitted, and how a file of them changes while a server runs."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path

import pytest
from published import NOW

from headrace.errors import ConfigError
from headrace.serving.rules import RULES
from headrace.serving.tokens import LOOK_S, SCOPES, Grant, Tokens, entry_text, new_token, read_tokens

SECRET = "s3cret-ü"
GOOD = f"Bearer {SECRET}".encode()


def admits(headers: list[bytes]) -> bool:
    return Tokens(SECRET, None, lambda: NOW).grant(headers) is not None


@pytest.mark.parametrize("headers", [[GOOD], [b"bearer" + GOOD[6:]], [b"Bearer  " + GOOD[7:] + b" "]])
def test_the_token_is_admitted(headers: list[bytes]) -> None:
    assert admits(headers)


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
    assert not admits(headers)


def test_the_secret_itself_is_not_kept() -> None:
    assert "s3cret" not in repr(vars(Tokens(SECRET, None, lambda: NOW)))


def test_every_route_has_a_scope_that_tokens_can_have() -> None:
    assert {rule.scope for rule in RULES} == {*SCOPES, "open"}


# -- the file -----------------------------------------------------------------------------------
class Clock:
    """Seconds that pass when they are told to."""

    s = 0.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.toml"


def entry(token: str, name: str = "ci", *scopes: str, days: int | None = None) -> str:
    ends = NOW + timedelta(days=days) if days is not None else None
    return entry_text(Grant(name, frozenset(scopes or ("read",)), ends), hashlib.sha256(token.encode()).hexdigest())


def bearer(token: str) -> list[bytes]:
    return [f"Bearer {token}".encode()]


def test_a_new_token_is_admitted_by_its_entry(file: Path) -> None:
    (token, sha256), (other, _) = new_token(), new_token()
    assert token.startswith("hr_")
    assert len(token) == 46
    assert token != other
    file.write_text(entry_text(Grant("ci", frozenset({"read", "metrics"})), sha256))
    assert Tokens(None, file, lambda: NOW).grant(bearer(token)) == Grant("ci", frozenset({"read", "metrics"}))
    assert Tokens(None, file, lambda: NOW).grant(bearer(other)) is None
    assert token not in file.read_text()


def test_several_are_valid_at_once_until_the_file_says_otherwise(file: Path) -> None:
    elapsed = Clock()
    file.write_text(entry("old"))
    tokens = Tokens("secret", file, lambda: NOW, elapsed)
    file.write_text("\n".join([entry("old"), entry("new", "cd", "read", "predict")]))
    assert tokens.grant(bearer("new")) is None, "looked at too early"
    elapsed.s += LOOK_S
    assert [tokens.grant(bearer(one)) is not None for one in ("old", "new", "secret")] == [True, True, True]
    file.write_text(entry("new", "cd"))
    elapsed.s += LOOK_S
    assert [tokens.grant(bearer(one)) is not None for one in ("old", "new", "secret")] == [False, True, True]


def test_a_file_that_is_replaced_is_seen_even_with_the_same_size_and_time(file: Path) -> None:
    elapsed = Clock()
    file.write_text(entry("a"))
    tokens = Tokens(None, file, lambda: NOW, elapsed)
    other = file.with_suffix(".new")
    other.write_text(entry("b"))
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.replace(file)
    elapsed.s += LOOK_S
    assert tokens.grant(bearer("a")) is None
    assert tokens.grant(bearer("b")) is not None


@pytest.mark.parametrize("text", [None, "", "[[tokens]", '[[tokens]]\nname = "x"'])
def test_a_file_that_breaks_leaves_the_tokens_as_they_were(
    file: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    elapsed = Clock()
    file.write_text(entry("a"))
    tokens = Tokens(None, file, lambda: NOW, elapsed)
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    for _ in range(3):
        elapsed.s += LOOK_S
        assert tokens.grant(bearer("a")) is not None
    assert [record.levelname for record in caplog.records] == ["ERROR"], "said once"
    file.write_text(entry("b"))
    elapsed.s += LOOK_S
    assert tokens.grant(bearer("b")) is not None


def test_a_token_ends_by_itself(file: Path) -> None:
    now = NOW
    file.write_text(entry("a", days=2))
    tokens = Tokens(None, file, lambda: now)
    assert tokens.grant(bearer("a")) is not None
    now = NOW + timedelta(days=2)
    assert tokens.grant(bearer("a")) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("tokens = 3", "tokens"),
        ("", "tokens"),
        ('[[tokens]]\nname = "x"\nsha256 = "short"\nscopes = ["read"]', "tokens.0.sha256"),
        (entry("a").replace('"read"', '"write"'), "a scope that there is not; found 'write'"),
        (entry("a").replace('["read"]', "[]"), "tokens.0.scopes"),
        (entry("a").replace('"ci"', '"two words"'), "tokens.0.name"),
        (entry("a") + "\nsecret = 1", "tokens.0.secret"),
        (entry("a") + "\nexpires_at = 2027-01-01T00:00:00", "tokens.0.expires_at"),
    ],
)
def test_a_file_that_is_wrong_stops_the_start_and_is_told_without_hashes(
    file: Path, text: str | None, said: str
) -> None:
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_tokens(file)
    assert said in str(refused.value)
    assert hashlib.sha256(b"a").hexdigest() not in str(refused.value)
