"""A real file server on the loopback address that can be told to misbehave."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Site:
    """What is served and how: `breaks` cuts that many answers short after `cut_at` bytes, `refusals` are sent first."""

    files: Mapping[str, bytes]
    url: str = ""
    ranges: bool = True
    breaks: int = 0
    cut_at: int = 0
    refusals: list[int] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range header of every request."""


@contextmanager
def served(files: Mapping[str, bytes]) -> Iterator[Site]:
    """A server of `files` (path -> content) for the length of the block."""
    site = Site(files)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            with lock:
                site.asked.append((self.path, wanted))
                refusal = site.refusals.pop(0) if site.refusals else None
                broken = site.breaks > 0
                site.breaks -= broken
            content = site.files.get(self.path)
            if refusal or content is None:
                self.send_error(refusal or 404)
                return
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and site.ranges else 0
            if start >= len(content) > 0:
                self.send_error(416)
                return
            self.send_response(206 if wanted and site.ranges else 200)
            if wanted and site.ranges:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            body = content[start:]
            self.wfile.write(body[: site.cut_at] if broken else body)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
