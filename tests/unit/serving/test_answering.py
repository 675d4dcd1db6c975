"""Requests are answered from a view as far as it may, else from the store, in the time they have."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from published import NOW, promote, publish, version

from headrace.errors import InputError, StoreUnavailable
from headrace.schemas import Vector
from headrace.serving import views
from headrace.serving.answering import Answering
from headrace.serving.lookup import Lookups, UnknownDefinition
from headrace.serving.pointers import Pointers
from headrace.serving.reading import InThreads
from headrace.serving.rendering import Rendering
from headrace.serving.views import Views
from headrace.stores.memory import MemoryStore
from headrace.stores.port import Champion, Held, SpeedItem

CUT = Vector({("", "file"): 200})


def beyond(position: int) -> Vector:
    return CUT.join(Vector({("t", "0"): position}))


class Watched(MemoryStore):
    """A store whose reads of entities are told, and which can be down or silent."""

    def __init__(self) -> None:
        super().__init__()
        self.read_entities: list[str] = []
        self.down = False
        self.open = threading.Event()
        self.open.set()

    def champion(self, definition: str) -> Champion:
        self._pass()
        return super().champion(definition)

    def read_speed(self, definition: str, generation: int, entities: Sequence[str], **_: Any) -> dict[str, Held]:
        self._pass()
        self.read_entities += entities
        return super().read_speed(definition, generation, entities)

    def _pass(self) -> None:
        self.open.wait(10)
        if self.down:
            raise StoreUnavailable("down")


class Server:
    """What a server has between its routes and the store."""

    def __init__(self, store: MemoryStore, view: Sequence[str] = (), **changed: Any) -> None:
        settings = {"cache_s": 0.0, "timeout_s": 5.0, "when_down": "refuse", "max_age_s": 300.0} | changed
        max_age_s = settings.pop("max_age_s")
        reader = InThreads(store)
        pointers = Pointers(reader, settings["cache_s"], settings["timeout_s"])
        self.views = Views(view, reader, pointers, 0.0, max_age_s)
        self.answering = Answering(reader, pointers, self.views, lambda: NOW, **settings)

    async def refresh(self) -> None:
        for view in self.views.all():
            await view.refresh()

    async def ask(self, *entities: str, definition: str = "segments") -> dict[str, Any]:
        found, missing = await self.answering.many(definition, entities)
        answers: dict[str, Any] = json.loads(Rendering(definition, NOW).many(found, missing))
        return answers


def as_the_library_says(store: MemoryStore, *entities: str) -> dict[str, Any]:
    found = Lookups(store, 0, lambda: NOW).many("segments", entities)
    return {"answers": [answer.to_json() for answer in found.answers], "missing": found.missing}


@pytest.fixture
def store() -> Watched:
    made = Watched()
    publish(made, "segments", 1, {"a": version(1, 1), "b/ü": version(2, 1), "gone": version(3, 1)})
    publish(made, "segments", 2, {"a": version(1, 2), "gone": None}, base=1)
    promote(made, "segments", 2)
    return made


def count(store: MemoryStore, entity: str, position: int, outputs: str, *, generation: int = 2) -> None:
    """The stream counts an event of the entity at that position, but does not say so yet."""
    held = store.read_speed("segments", generation, [entity]).get(entity, Held()).speed
    item = SpeedItem(b"{}", outputs, Vector({("t", "0"): position}), held.writes + 1 if held else 1)
    assert not store.write_speed("segments", generation, {entity: item}).refused


def say(store: MemoryStore, position: int, *, generation: int = 2, age_s: float = 0.0) -> None:
    """The stream says how far it is."""
    standing = store.progress("segments", generation)
    if standing is None:
        standing = store.take_over("segments", generation, "driver", CUT, NOW)
    store.advance(replace(standing, vector=beyond(position), as_of=NOW - timedelta(seconds=age_s)))


SPEEDY = '{"features":{"recency":9},"prediction":{"cluster":7,"segment":"Can\'t Lose"}}'


@pytest.mark.parametrize("view", [(), ("segments",)])
def test_a_server_says_what_the_library_says(store: Watched, view: tuple[str, ...]) -> None:
    async def test() -> None:
        server = Server(store, view)
        await server.refresh()
        asked = ("no", "b/ü", "a", "gone", "a", "no")
        assert await server.ask(*asked) == as_the_library_says(store, *asked)
        count(store, "a", 5, SPEEDY)
        say(store, 5)
        await server.refresh()
        answered = await server.ask(*asked)
        assert answered == as_the_library_says(store, *asked)
        assert [a["layer"] for a in answered["answers"]] == ["batch", "speed"]

    asyncio.run(test())


def test_what_cannot_be_asked_is_refused(store: Watched) -> None:
    async def test() -> None:
        server = Server(store)
        with pytest.raises(InputError, match="found 101"):
            await server.ask(*["a"] * 101)
        with pytest.raises(InputError, match="key is too long"):
            await server.ask("x" * 2048)
        with pytest.raises(UnknownDefinition):
            await server.ask("a", definition="other")

    asyncio.run(test())


def test_a_store_that_is_silent_is_given_up_in_time(store: Watched) -> None:
    async def test() -> None:
        server = Server(store, timeout_s=0.1)
        store.open.clear()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await server.ask("a")
        assert time.monotonic() - began < 1.0
        store.open.set()
        assert len((await server.ask("a"))["answers"]) == 1

    asyncio.run(test())


# -- the view -----------------------------------------------------------------------------------
def test_a_view_asks_the_store_only_for_what_it_does_not_hold(store: Watched) -> None:
    async def test() -> None:
        server = Server(store, ["segments"])
        await server.ask("a")
        assert store.read_entities == ["a"], "it is not read yet"
        await server.refresh()
        store.read_entities.clear()
        assert len((await server.ask("a", "b/ü"))["answers"]) == 2
        assert store.read_entities == []
        assert (await server.ask("a", "no", "gone"))["missing"] == ["no", "gone"]
        assert store.read_entities == ["no", "gone"]

    asyncio.run(test())


@pytest.mark.parametrize("page", [1, 7, 30, 1000])
def test_a_view_holds_every_key_whatever_the_pages(page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr(views, "PAGE", page)
        store = Watched()
        entities = [f"e{n}" for n in range(30)]
        publish(store, "segments", 2, {entity: version(1, 1) for entity in entities})
        promote(store, "segments", 2)
        server = Server(store, ["segments"])
        await server.refresh()
        for entity in entities:
            count(store, entity, 5, SPEEDY)
        say(store, 5)
        await server.refresh()
        store.read_entities.clear()
        answers = (await server.ask(*entities))["answers"]
        assert [(a["entity"], a["layer"]) for a in answers] == [(entity, "speed") for entity in entities]
        assert store.read_entities == []

    asyncio.run(test())


def test_a_view_says_how_old_it_is_and_what_it_lacks(store: Watched) -> None:
    async def test() -> None:
        server = Server(store, ["segments"])
        say(store, 3, age_s=100)
        await server.refresh()
        count(store, "a", 5, SPEEDY)
        say(store, 6, age_s=1)
        (old,) = (await server.ask("a"))["answers"]
        assert (old["layer"], old["age_s"], old["vector"]) == ("batch", 100.0, beyond(3).to_json())
        await server.refresh()
        (new,) = (await server.ask("a"))["answers"]
        assert (new["layer"], new["age_s"], new["vector"]) == ("speed", 1.0, beyond(6).to_json())
        assert new["prediction"]["cluster"] == 7

    asyncio.run(test())


def test_an_idle_stream_keeps_a_view_young(store: Watched) -> None:
    async def test() -> None:
        server = Server(store, ["segments"], max_age_s=0.0)
        say(store, 3, age_s=100)
        await server.refresh()
        store.read_entities.clear()
        say(store, 3, age_s=2)
        (answered,) = (await server.ask("a"))["answers"]
        assert (answered["age_s"], store.read_entities) == (2.0, [])
        say(store, 4, age_s=1)
        (answered,) = (await server.ask("a"))["answers"]
        assert (answered["age_s"], store.read_entities) == (1.0, ["a"]), "older than it may be, it is not asked"

    asyncio.run(test())


def test_a_view_that_was_read_while_an_item_had_counted_more_says_so(store: Watched) -> None:
    async def test() -> None:
        server = Server(store, ["segments"])
        say(store, 3)
        count(store, "a", 9, SPEEDY)
        await server.refresh()
        by_entity = {a["entity"]: a["vector"] for a in (await server.ask("a", "b/ü"))["answers"]}
        assert by_entity == {"a": beyond(9).to_json(), "b/ü": beyond(3).to_json()}

    asyncio.run(test())


def test_a_view_never_answers_for_another_champion(store: Watched) -> None:
    async def test() -> None:
        server = Server(store, ["segments"])
        await server.refresh()
        store.read_entities.clear()
        promote(store, "segments", 1)
        assert (await server.ask("a")) == as_the_library_says(store, "a")
        assert "a" in store.read_entities
        await server.refresh()
        store.read_entities.clear()
        assert [a["prediction"]["cluster"] for a in (await server.ask("a", "gone"))["answers"]] == [1, 1]
        assert store.read_entities == []
        promote(store, "segments", 2, skip=frozenset({1}))
        await server.refresh()
        assert (await server.ask("a", "b/ü", "gone"))["missing"] == ["b/ü", "gone"]

    asyncio.run(test())


def test_what_a_view_may_not_hold_is_asked_in_the_store() -> None:
    async def test() -> None:
        store = Watched()
        publish(store, "segments", 1, {"a": version(1, 1)}, clock="reader")
        promote(store, "segments", 1)
        server = Server(store, ["segments"])
        await server.refresh()
        assert server.views.of("segments").last is None  # type: ignore[union-attr]

    asyncio.run(test())


@pytest.mark.parametrize("when_down", ["refuse", "stale"])
def test_a_store_that_is_down_is_told_or_flagged(store: Watched, when_down: str) -> None:
    async def test() -> None:
        server = Server(store, ["segments"], when_down=when_down)
        say(store, 3, age_s=100)
        await server.refresh()
        before = await server.ask("a", "b/ü")
        store.down = True
        if when_down == "refuse":
            with pytest.raises(StoreUnavailable):
                await server.ask("a")
        else:
            flagged = [{**answer, "stale": True} for answer in before["answers"]]
            assert await server.ask("a", "b/ü") == {"answers": flagged, "missing": []}
            with pytest.raises(StoreUnavailable):
                await server.ask("a", "no")
        store.down = False
        assert await server.ask("a", "b/ü") == before

    asyncio.run(test())


def test_readers_of_a_view_during_promote_and_rollback_see_only_whole_generations() -> None:
    async def test() -> None:
        store = MemoryStore()
        entities = [f"e{i}" for i in range(20)]
        for g in (1, 2):
            publish(store, "segments", g, {e: version(g, g) for e in entities}, base=None)
        promote(store, "segments", 1)
        server = Server(store, ["segments"])
        seen, stop = set(), asyncio.Event()

        async def read() -> None:
            while not stop.is_set():
                answers = (await server.ask(*entities))["answers"]
                assert len(answers) == 20
                (one,) = {(a["generation"], a["prediction"]["cluster"]) for a in answers}
                seen.add(one)

        async def refresh() -> None:
            while not stop.is_set():
                await server.refresh()

        tasks = [asyncio.create_task(one()) for one in (read, read, refresh)]
        for flip in range(60):
            promote(store, "segments", 2 - flip % 2)
            await asyncio.sleep(0.002)
        stop.set()
        await asyncio.gather(*tasks)
        assert seen == {(1, 1), (2, 2)}

    asyncio.run(test())
