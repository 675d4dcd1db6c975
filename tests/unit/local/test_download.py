from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from file_server import Site, served

from headrace.errors import DownloadError
from headrace.local.download import ATTEMPTS, Remote, exclusive, fetch, is_whole

CONTENT = random.Random(1).randbytes(300_000)


@pytest.fixture
def site() -> Iterator[Site]:
    with served({"/a.jar": CONTENT}) as site:
        yield site


def remote(site: Site, folder: Path, content: bytes = CONTENT, *, sized: bool = True) -> Remote:
    size = len(content) if sized else None
    return Remote(f"{site.url}/a.jar", folder / "deep" / "a.jar", hashlib.sha256(content).hexdigest(), size)


def take(wanted: Remote, **options: object) -> None:
    with requests.Session() as session:
        fetch(wanted, session, pause_s=0.001, **options)


@pytest.mark.parametrize("sized", [True, False])
def test_a_file_arrives_whole_and_leaves_no_part(site, tmp_path, sized):
    wanted = remote(site, tmp_path, sized=sized)
    assert not is_whole(wanted)
    take(wanted)
    assert wanted.target.read_bytes() == CONTENT
    assert is_whole(wanted)
    assert [path.name for path in wanted.target.parent.iterdir()] == ["a.jar"]


def test_a_broken_transfer_is_resumed_where_it_broke(site, tmp_path):
    site.breaks, site.cut_at = 2, 100_000
    counted = []
    take(remote(site, tmp_path), advance=counted.append)
    first, second, third = (int((asked or "bytes=0-")[6:-1]) for _, asked in site.asked)
    assert first == 0
    # At most one chunk of what had arrived is asked for again.
    assert 90_000 < second <= 100_000
    assert second + 90_000 < third <= second + 100_000
    assert sum(counted) == len(CONTENT)


def test_breaks_that_bring_bytes_do_not_use_up_the_tries(site, tmp_path):
    site.breaks, site.cut_at = 3 * ATTEMPTS, 10_000
    take(remote(site, tmp_path))
    assert len(site.asked) == 3 * ATTEMPTS + 1


def test_what_an_earlier_process_left_is_continued(site, tmp_path):
    wanted = remote(site, tmp_path)
    wanted.target.parent.mkdir()
    wanted.target.with_name("a.jar.part").write_bytes(CONTENT[:250_000])
    take(wanted)
    assert [asked for _, asked in site.asked] == ["bytes=250000-"]
    assert wanted.target.read_bytes() == CONTENT


@pytest.mark.parametrize("sized", [True, False])
def test_a_complete_part_needs_no_second_transfer(site, tmp_path, sized):
    wanted = remote(site, tmp_path, sized=sized)
    wanted.target.parent.mkdir()
    wanted.target.with_name("a.jar.part").write_bytes(CONTENT)
    take(wanted)
    assert wanted.target.read_bytes() == CONTENT
    assert len(site.asked) == (0 if sized else 1)


def test_a_server_without_ranges_starts_over(site, tmp_path):
    site.ranges = False
    site.breaks, site.cut_at = 1, 100_000
    counted = []
    wanted = remote(site, tmp_path)
    take(wanted, advance=counted.append)
    assert wanted.target.read_bytes() == CONTENT
    assert sum(counted) == len(CONTENT)


def test_a_damaged_part_is_thrown_away_and_fetched_again(site, tmp_path):
    wanted = remote(site, tmp_path)
    wanted.target.parent.mkdir()
    wanted.target.with_name("a.jar.part").write_bytes(b"x" * 250_000)
    counted = []
    take(wanted, advance=counted.append)
    assert wanted.target.read_bytes() == CONTENT
    assert [asked for _, asked in site.asked] == ["bytes=250000-", None]
    assert sum(counted) == len(CONTENT)


@pytest.mark.parametrize("sized", [True, False])
def test_wrong_content_is_refused_in_bounded_tries_and_never_put_in_place(site, tmp_path, sized):
    wanted = remote(site, tmp_path, content=b"y" * len(CONTENT), sized=sized)
    with pytest.raises(DownloadError, match=r"SHA-256 [0-9a-f]{64} instead of [0-9a-f]{64}"):
        take(wanted)
    assert len(site.asked) == ATTEMPTS
    assert list(wanted.target.parent.iterdir()) == []


def test_a_passing_refusal_is_retried(site, tmp_path):
    site.refusals = [503, 429, 500]
    wanted = remote(site, tmp_path)
    take(wanted)
    assert is_whole(wanted)


def test_a_file_that_is_not_there_is_not_retried(site, tmp_path):
    site.files = {}
    with pytest.raises(DownloadError, match=r"HTTP 404.*HEADRACE_MAVEN_REPOSITORY") as raised:
        take(remote(site, tmp_path))
    assert len(site.asked) == 1
    assert raised.value.exit_code == 75


def test_nobody_there_says_what_to_do_and_keeps_what_arrived(site, tmp_path):
    wanted = Remote("http://127.0.0.1:9/a.jar", tmp_path / "a.jar", "0" * 64, 10)
    part = tmp_path / "a.jar.part"
    part.write_bytes(b"12345")
    with pytest.raises(DownloadError, match="check the network and run the same command again"):
        take(wanted)
    assert part.read_bytes() == b"12345"


def test_an_interrupt_ends_the_transfer_and_keeps_what_arrived(site, tmp_path):
    stop = threading.Event()
    wanted = remote(site, tmp_path)
    with pytest.raises(DownloadError, match="interrupted"):
        take(wanted, advance=lambda _: stop.set(), stop=stop)
    part = wanted.target.with_name("a.jar.part")
    assert 0 < part.stat().st_size < len(CONTENT)
    assert len(site.asked) == 1


def test_a_folder_that_cannot_be_written_says_so(site, tmp_path):
    (tmp_path / "deep").write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match=r"cannot be written.*HEADRACE_CACHE"):
        take(remote(site, tmp_path))


def test_a_damaged_file_of_the_right_size_is_not_whole(site, tmp_path):
    wanted = remote(site, tmp_path)
    take(wanted)
    wanted.target.write_bytes(CONTENT[:-1] + b"?")
    assert not is_whole(wanted)


def test_the_second_holder_of_a_lock_is_told_and_waits(tmp_path):
    waiting, order = threading.Event(), []

    def second() -> None:
        with exclusive(tmp_path / "new" / "lock", waiting.set):
            order.append("second")

    with exclusive(tmp_path / "new" / "lock"):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
