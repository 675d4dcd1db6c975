"""What a local engine is: what it loads, how it is started and when it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from headrace.config import EnginesSettings

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Place:
    """Where and with what one engine runs."""

    home: Path
    """Its own folder, kept over down and up."""
    ports: Mapping[str, int]
    java: Path | None
    """The `java` to start, for engines that need one."""
    jars: Sequence[Path]
    heap_mb: int
    in_memory: bool
    """Keep nothing on disk where the engine can do so; for tests."""

    @property
    def data(self) -> Path:
        """The folder of its data."""
        return self.home / "data"

    def virtual_machine(self, *options: str) -> list[str]:
        """The start of a Java command: heap bounds, class path and what every engine has in common."""
        return [
            str(self.java),
            f"-Xmx{self.heap_mb}m",
            # One collector thread: an engine on a laptop shares its cores with Spark.
            "-XX:+UseSerialGC",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.net.preferIPv4Stack=true",
            "-Djava.awt.headless=true",
            *options,
            "-cp",
            ":".join(str(jar) for jar in self.jars if jar.suffix == ".jar"),
        ]


class Engine(ABC):
    """One kind of local engine. Instances hold nothing: everything about a run is in its Place."""

    name: ClassVar[str]
    jar_groups: ClassVar[tuple[str, ...]] = ()
    port_names: ClassVar[tuple[str, ...]] = ("client",)
    patience_s: ClassVar[float] = 120.0
    """How long it may take to answer after its start."""

    @abstractmethod
    def heap_mb(self, settings: EnginesSettings) -> int:
        """Its heap bound; 0 where it has none."""

    def prepare(self, place: Place) -> None:
        """Write what it needs before it starts, such as its configuration; called before every start."""
        del place

    @abstractmethod
    def command(self, place: Place) -> list[str]:
        """The command that runs it in the foreground."""

    def environment(self, place: Place) -> dict[str, str]:
        """Environment variables it needs on top of ours."""
        del place
        return {}

    def endpoint(self, ports: Mapping[str, int]) -> str:
        """The address its clients take."""
        return f"{LOOPBACK}:{ports['client']}"

    @abstractmethod
    def answers(self, ports: Mapping[str, int], timeout_s: float) -> bool:
        """Whether it answers a request of its own protocol."""

    def restore(self, place: Place) -> None:
        """Bring back data it does not keep by itself; called once it answers."""
        del place
