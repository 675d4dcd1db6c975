"""The publisher's lease as a step holds it: waited for, renewed while it works, given back at the end."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import psutil

from headrace.errors import LeaseHeld, StoreUnavailable
from headrace.stores.port import Lease, Store

log = logging.getLogger(__name__)
Say = Callable[[str], None]
_POLL_S = 1.0


def owner_name() -> str:
    """This process, so that others on this machine can tell whether it still lives: `host:pid:start time`."""
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def is_dead(owner: str) -> bool:
    """Whether `owner` names a process of this machine that is gone; False for other machines and other names."""
    host, pid, started = (*owner.rsplit(":", 2), "", "")[:3]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" != started
    except psutil.NoSuchProcess:
        return True


class Clock:
    """The instant `now` was when this was made, moving on; what a step that was told the time renews a lease by."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._start = time.monotonic()

    def __call__(self) -> datetime:
        return self._now + timedelta(seconds=time.monotonic() - self._start)


class Heartbeat:
    """Renews a lease every third of its time from a thread of its own; `lost` is set, and `on_loss` called, when
    another owner took it over or it could not be renewed before it expired."""

    def __init__(self, store: Store, lease: Lease, clock: Clock, ttl: timedelta) -> None:
        self._store = store
        self._clock = clock
        self._ttl = ttl
        self._stop = threading.Event()
        self.lease = lease
        self.lost: Exception | None = None
        self.on_loss: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the renewals; the lease stands until it is released or expires."""
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raise what the lease was lost to."""
        if self.lost is not None:
            raise self.lost

    def _beat(self) -> None:
        while not self._stop.wait(self._ttl.total_seconds() / 3):
            try:
                self.lease = self._store.renew_lease(self.lease, self._clock(), self._ttl)
            except LeaseHeld as error:
                self._lose(error)
                return
            except StoreUnavailable as error:
                log.warning("the lease of %s could not be renewed yet: %s", self.lease.definition, error)
                if self._clock() >= self.lease.expires_at:
                    self._lose(error)
                    return

    def _lose(self, error: Exception) -> None:
        self.lost = error
        self.on_loss()


@contextmanager
def holding(
    store: Store, definition: str, owner: str, *, clock: Clock, ttl: timedelta, say: Say
) -> Iterator[Heartbeat]:
    """The lease for the length of a block. Raises LeaseHeld after waiting for one whole lease time in vain."""
    heartbeat = Heartbeat(store, _acquire(store, definition, owner, clock=clock, ttl=ttl, say=say), clock, ttl)
    try:
        yield heartbeat
    finally:
        heartbeat.stop()
        try:
            store.release_lease(heartbeat.lease)
        except StoreUnavailable as error:
            log.warning("the lease of %s was not given back and expires by itself: %s", definition, error)


def _acquire(store: Store, definition: str, owner: str, *, clock: Clock, ttl: timedelta, say: Say) -> Lease:
    give_up = clock() + ttl + timedelta(seconds=2 * _POLL_S)
    waiting = False
    while True:
        try:
            return store.acquire_lease(definition, owner, clock(), ttl)
        except LeaseHeld as error:
            current = store.lease(definition)
            if current is not None and is_dead(current.owner):
                say(f"the publisher {current.owner} is gone: taking its lease over")
                store.release_lease(current)
                continue
            if clock() >= give_up:
                raise
            if not waiting:
                say(f"waiting for the lease: {error}")
                waiting = True
        time.sleep(_POLL_S)
