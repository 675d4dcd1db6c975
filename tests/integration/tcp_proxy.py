"""A TCP proxy in front of a store that can be down, slow, or cut answers short, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Proxy:
    """What it does from now on to what passes; endpoint: its address.

    delay_s: how long an answer is held back. cut_after: how many bytes of each connection's answers pass before it is
    closed (None: all). down: nobody is let in, and who is in is thrown out. silent: nothing is passed on.
    """

    endpoint: str = ""
    delay_s: float = 0.0
    cut_after: int | None = None
    silent: bool = False
    accepted: int = 0
    _down: bool = False
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    @property
    def down(self) -> bool:
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        self._down = down
        self.hang_up()

    @property
    def connections(self) -> int:
        """How many are open now, of both sides."""
        return len(self._open)

    def hang_up(self) -> None:
        """Close every connection there is."""
        self._loop.call_soon_threadsafe(lambda: [one.transport.abort() for one in list(self._open)])

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: tuple[str, int]) -> None:
        self.accepted += 1
        if self._down:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*to)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._open |= both
        try:
            forth = asyncio.create_task(self._pass(reader, far_writer))
            back = asyncio.create_task(self._pass(far_reader, writer, answers=True))
            await asyncio.wait({forth, back}, return_when=asyncio.FIRST_COMPLETED)
            for task in (forth, back):
                task.cancel()
        finally:
            self._open -= both
            for one in both:
                one.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                while self.silent:
                    await asyncio.sleep(0.01)
                if answers and self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if answers and self.cut_after is not None:
                    data = data[: max(0, self.cut_after - passed)]
                    passed += len(data)
                writer.write(data)
                await writer.drain()
                if answers and self.cut_after is not None and passed >= self.cut_after:
                    return


@contextlib.contextmanager
def proxied(endpoint: str) -> Iterator[Proxy]:
    """A running proxy to that address on a free port of this machine."""
    proxy, parts = Proxy(), urlsplit(endpoint)
    to = (parts.hostname or "", parts.port or 80)
    ready = threading.Event()

    async def serve() -> None:
        server = await asyncio.start_server(lambda r, w: proxy._meet(r, w, to), "127.0.0.1", 0)
        proxy.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        async with server:
            await server.serve_forever()

    def run() -> None:
        asyncio.set_event_loop(proxy._loop)
        with contextlib.suppress(asyncio.CancelledError):
            proxy._loop.run_until_complete(task)
        for left in asyncio.all_tasks(proxy._loop):
            left.cancel()
        proxy._loop.run_until_complete(asyncio.sleep(0.05))
        proxy._loop.close()

    task = proxy._loop.create_task(serve())
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield proxy
    finally:
        proxy._loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
