"""Where Online Retail is found, in order; the download is tried against a local server."""

import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from headrace import config
from headrace.errors import InputError
from headrace.local import download
from headrace.local.download import Remote
from headrace.sources import online_retail

BODY = b"InvoiceNo,StockCode\n" + b"".join(b"%d,85123A\n" % n for n in range(40_000))


class Publisher:
    """A server of one file that understands Range, can break off once, and notes what it was asked."""

    def __init__(self) -> None:
        self.body = BODY
        self.status = 200
        self.break_after: int | None = None
        self.ranges: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                self.send_response(outer.status)
                self.end_headers()

            def do_GET(self):
                outer.ranges.append(self.headers.get("Range"))
                if outer.status != 200:
                    self.send_response(outer.status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
                part = outer.body[start:]
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(part)))
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(outer.body) - 1}/{len(outer.body)}")
                self.end_headers()
                limit, outer.break_after = outer.break_after, None
                self.wfile.write(part[:limit])

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/static/public/352/data.csv"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def publisher():
    server = Publisher()
    yield server
    server.close()


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.delenv("HEADRACE_DATA", raising=False)
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(online_retail, "GENERATED_ROWS", 3_000)
    monkeypatch.setattr(online_retail, "GENERATED_CUSTOMERS", 50)
    return config.load([f"home={tmp_path / 'home'}"], environment="local")


@pytest.fixture
def remote(publisher, settings):
    target = settings.cache / "data" / "online-retail-dataset.csv"
    return Remote(publisher.url, target, hashlib.sha256(BODY).hexdigest(), len(BODY))


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    folder = tmp_path / "sets"
    folder.mkdir()
    monkeypatch.setenv("HEADRACE_DATA", str(folder))
    return folder


def found(settings, remote, path=None):
    return online_retail.find(path, settings, published=remote, progress=False)


def test_the_named_input_comes_first(settings, remote, publisher, data_folder, tmp_path):
    (data_folder / "online-retail-dataset.csv").write_bytes(BODY)
    mine = tmp_path / "mine.csv"
    mine.write_bytes(b"a\n")
    assert found(settings, remote, mine) == online_retail.Found(mine, "input", "")
    assert publisher.ranges == []


def test_a_named_input_that_is_not_there_is_refused_with_the_nearest_name(settings, remote, tmp_path):
    (tmp_path / "purchases.csv").write_bytes(b"a\n")
    with pytest.raises(InputError, match=r"there is no input .*purchase\.csv.*nearest 'purchases\.csv'"):
        found(settings, remote, tmp_path / "purchase.csv")
    with pytest.raises(InputError, match="found no folder"):
        found(settings, remote, tmp_path / "nowhere" / "x.csv")


@pytest.mark.parametrize(
    "place",
    [
        "online_retail/online-retail-dataset.csv.gz",
        "online_retail/online-retail-dataset.csv",
        "online-retail-dataset.csv.gz",
        "online-retail-dataset.csv",
    ],
)
def test_the_data_folder_comes_before_cache_and_download(settings, remote, publisher, data_folder, place, monkeypatch):
    monkeypatch.setattr(online_retail, "SHA256", remote.sha256)
    path = data_folder / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(BODY) if place.endswith(".gz") else BODY)
    remote.target.parent.mkdir(parents=True)
    remote.target.write_bytes(BODY)
    assert found(settings, remote) == online_retail.Found(path, "data folder", "")
    assert publisher.ranges == []


@pytest.mark.parametrize("content", [b"other", gzip.compress(BODY)[:-40], b""], ids=["plain", "truncated", "empty"])
def test_a_file_in_the_data_folder_that_is_not_the_published_one_is_used_and_noted(
    settings, remote, data_folder, content
):
    path = data_folder / "online-retail-dataset.csv.gz"
    path.write_bytes(content)
    assert found(settings, remote) == online_retail.Found(path, "data folder", "not byte for byte the published file")


def test_the_file_is_fetched_whole_checked_and_then_cached(settings, remote, publisher):
    first = found(settings, remote)
    assert (first.path, first.origin) == (remote.target, "download")
    assert first.note == f"fetched from {publisher.url}, SHA-256 checked"
    assert remote.target.read_bytes() == BODY
    assert publisher.ranges == [None]
    publisher.close()
    assert found(settings, remote) == online_retail.Found(remote.target, "cache", "")


def test_an_earlier_download_that_broke_off_is_resumed(settings, remote, publisher):
    remote.target.parent.mkdir(parents=True)
    remote.target.with_name(remote.target.name + ".part").write_bytes(BODY[:100_000])
    assert found(settings, remote).origin == "download"
    assert publisher.ranges == ["bytes=100000-"]
    assert remote.target.read_bytes() == BODY


def test_a_connection_that_breaks_is_resumed_in_the_same_call(settings, remote, publisher):
    publisher.break_after = 200_000
    assert found(settings, remote).origin == "download"
    assert publisher.ranges[0] is None
    assert publisher.ranges[1].startswith("bytes=")
    assert remote.target.read_bytes() == BODY


def generated(answer, settings):
    assert answer.origin == "generated"
    assert answer.note.startswith("GENERATED DATA IS USED")
    assert "--input FILE" in answer.note
    assert "HEADRACE_DATA" in answer.note
    rows = gzip.decompress(answer.path.read_bytes()).decode().splitlines()
    assert len(rows) == 3_001
    assert answer.path.parent == settings.cache / "data"
    return True


def test_a_file_with_another_checksum_is_refused_by_name_and_nothing_is_kept(settings, remote, publisher, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    publisher.body = BODY.replace(b"85123A", b"85123B")
    answer = found(settings, remote)
    assert generated(answer, settings)
    assert publisher.url in answer.note
    assert "SHA-256" in answer.note
    assert not [path for path in remote.target.parent.iterdir() if path.name.startswith("online-retail")]


def test_a_cached_file_that_was_damaged_is_replaced(settings, remote, publisher):
    remote.target.parent.mkdir(parents=True)
    remote.target.write_bytes(BODY[:-1])
    assert found(settings, remote).origin == "download"
    assert remote.target.read_bytes() == BODY


def test_a_publisher_that_moved_the_file_leads_to_generated_data(settings, remote, publisher):
    publisher.status = 404
    answer = found(settings, remote)
    assert generated(answer, settings)
    assert f"{publisher.url} is refused" in answer.note


def test_no_network_leads_to_generated_data_at_once(settings, remote, publisher):
    publisher.close()
    answer = found(settings, remote)
    assert generated(answer, settings)
    assert "is not reached" in answer.note


def test_generated_data_is_made_once(settings, remote, publisher):
    publisher.close()
    first = found(settings, remote)
    before = first.path.stat().st_mtime_ns
    assert found(settings, remote) == first
    assert first.path.stat().st_mtime_ns == before


def test_a_data_folder_without_the_file_is_named_in_the_note(settings, remote, publisher, data_folder):
    publisher.close()
    assert f"$HEADRACE_DATA ({data_folder}) does not hold it" in found(settings, remote).note
