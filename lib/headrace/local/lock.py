"""Resolves the coordinates of jars.toml and rewrites its artifacts: `python -m headrace.local.lock`.

Resolution is done by the Ivy that pyspark ships, with settings of our own that know one repository and one cache, so
neither ~/.m2 nor ~/.ivy2 of the machine can change the result. Only this module resolves; everything else reads the
lock.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources, util
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from headrace import config
from headrace.errors import DownloadError, TerminalError
from headrace.local.java import find_java

# Native libraries by the platform that loads them; the others of a closure are for platforms we do not run on.
_NATIVES = {
    "libsqlite4java-linux-amd64": "Linux-x86_64",
    "libsqlite4java-osx": "Darwin-x86_64",
    "libsqlite4java-osx-aarch64": "Darwin-arm64",
}
# pyspark carries these merged or under another name, and a second copy beside them breaks it.
_CARRIED = {
    "pyspark": {"hadoop-client", "hadoop-common", "hadoop-annotations", "hadoop-auth", "commons-logging", "log4j"},
}
_RETRIEVE = "[orgPath]/[module]/[revision]/[artifact]-[revision](-[classifier]).[ext]"


def main(arguments: Sequence[str] | None = None) -> None:
    """Resolve the named groups (default: all) and rewrite their artifacts in jars.toml."""
    parser = argparse.ArgumentParser(prog="python -m headrace.local.lock", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="default: every group")
    chosen = parser.parse_args(arguments).groups
    lock = Path(str(resources.files("headrace").joinpath("jars.toml")))
    lanes = tomllib.loads(lock.read_text("utf-8"))
    preface = "".join(line for line in lock.read_text("utf-8").splitlines(keepends=True) if line.startswith("#"))
    known = {name for groups in lanes.values() for name in groups}
    if unknown := set(chosen) - known:
        raise TerminalError("there is no such group", found=sorted(unknown), expected=sorted(known))
    for lane, groups in lanes.items():
        for name, group in groups.items():
            if not chosen or name in chosen:
                group["artifacts"] = resolve(group)
                sys.stderr.write(f"{lane}.{name}: {len(group['artifacts'])} artifacts\n")
                lock.write_text(preface + render(lanes), "utf-8")


def resolve(group: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The closure of a group as artifacts: path in Maven layout, SHA-256, size and, for natives, the platform."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        log = _ivy(_closure(group, ()), Path(folder), out)
        if log:
            taken = [part for part in map(_coordinate, group.get("substitute", [])) if f"{part[0]}#{part[1]};" in log]
            alone = "".join(_dependency(part, transitive=False) for part in taken)
            if not taken or _ivy(_closure(group, taken), Path(folder), out) or _ivy(alone, Path(folder), out):
                raise DownloadError(f"{', '.join(group['coordinates'])} does not resolve", found=log[-2000:])
        artifacts = [_artifact(path, out) for path in sorted(out.rglob("*")) if path.is_file()]
        return [artifact for artifact in artifacts if artifact]


def render(lanes: Mapping[str, Any]) -> str:
    """The lanes as TOML, one artifact a line.

    >>> print(render({"engines": {"kafka": {"coordinates": ["g:a:1"], "artifacts": [{"path": "g/a.jar", "size": 1}]}}}))
    <BLANKLINE>
    ["engines".kafka]
    coordinates = [
        "g:a:1",
    ]
    artifacts = [
        {path = "g/a.jar", size = 1},
    ]
    <BLANKLINE>
    """
    lines = []
    for lane, groups in lanes.items():
        for name, group in groups.items():
            lines += ["", f'["{lane}".{name}]']
            for key, value in group.items():
                if isinstance(value, str):
                    lines.append(f'{key} = "{value}"')
                else:
                    lines += [f"{key} = [", *(f"    {_inline(item)}," for item in value), "]"]
    return "\n".join(lines) + "\n"


def _inline(item: object) -> str:
    if isinstance(item, dict):
        return "{" + ", ".join(f"{key} = {_inline(value)}" for key, value in item.items()) + "}"
    return str(item) if isinstance(item, int) else f'"{item}"'


def _coordinate(text: str) -> tuple[str, str, str, str]:
    """group:artifact:version[:type] in parts; the type is jar unless given."""
    parts = text.split(":")
    if len(parts) not in (3, 4):
        raise TerminalError(f"{text!r} is not a coordinate", expected="group:artifact:version[:type]")
    return parts[0], parts[1], parts[2], parts[3] if len(parts) == 4 else "jar"


def _ivy(dependencies: str, folder: Path, out: Path) -> str:
    """Resolve the dependencies and retrieve them into `out`; "" when it worked, else Ivy's log."""
    settings, module = folder / "settings.xml", folder / "ivy.xml"
    settings.write_text(
        '<ivysettings><settings defaultResolver="central"/>'
        f"<caches defaultCacheDir={quoteattr(str(folder / 'cache'))}/>"
        '<resolvers><ibiblio name="central" m2compatible="true" usepoms="true"'
        f" root={quoteattr(config.maven_repository() + '/')}/></resolvers></ivysettings>",
        "utf-8",
    )
    module.write_text(
        '<ivy-module version="2.0"><info organisation="headrace" module="lock"/>'
        '<configurations><conf name="default"/></configurations>'
        f"<dependencies>{dependencies}</dependencies></ivy-module>",
        "utf-8",
    )
    java = find_java(config.load().cache).executable
    (ivy,) = _shipped("pyspark").glob("ivy-*.jar")
    command = [java, "-jar", ivy, "-settings", settings, "-ivy", module, "-confs", "default"]
    done = subprocess.run(  # noqa: S603 - a fixed list, no shell
        [*map(str, command), "-retrieve", f"{out}/{_RETRIEVE}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    failed = done.returncode != 0 or "UNRESOLVED DEPENDENCIES" in done.stdout or "FAILED DOWNLOADS" in done.stdout
    return done.stdout if failed else ""


def _closure(group: Mapping[str, Any], taken: Sequence[tuple[str, str, str, str]]) -> str:
    """The group's coordinates and what they must not bring along, as Ivy dependencies."""
    left_out = [("*", name) for name in sorted(_beside(group.get("beside")))]
    left_out += [(part.split(":")[0], part.split(":")[1]) for part in group.get("exclude", [])]
    left_out += [(org, name) for org, name, _, _ in taken]
    return "".join(
        [_dependency(_coordinate(text)) for text in group["coordinates"]]
        + [f"<exclude org={quoteattr(org)} module={quoteattr(name)}/>" for org, name in left_out]
    )


def _dependency(part: tuple[str, str, str, str], *, transitive: bool = True) -> str:
    org, name, revision, kind = part
    follow = transitive and kind == "jar"
    named = f"<artifact name={quoteattr(name)} type={quoteattr(kind)} ext={quoteattr(kind)}/>"
    return (
        f"<dependency org={quoteattr(org)} name={quoteattr(name)} rev={quoteattr(revision)}"
        f' transitive="{str(follow).lower()}" conf="default->default">{"" if kind == "jar" else named}</dependency>'
    )


def _beside(package: str | None) -> set[str]:
    """Artifact names that a Python package's own jars folder already holds."""
    if not package:
        return set()
    names = {re.sub(r"-\d.*$", "", path.stem) for path in _shipped(package).glob("*.jar")}
    return names | _CARRIED.get(package, set())


def _shipped(package: str) -> Path:
    spec = util.find_spec(package)
    if spec is None or spec.origin is None:
        raise TerminalError(f"the Python package {package} is not installed", do=f"pip install {package}")
    return Path(spec.origin).parent / "jars"


def _artifact(path: Path, out: Path) -> dict[str, Any] | None:
    relative = path.relative_to(out)
    found: dict[str, Any] = {
        "path": relative.as_posix(),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "size": path.stat().st_size,
    }
    if path.suffix == ".jar":
        return found
    platform = _NATIVES.get(relative.parts[-3])
    return {**found, "platform": platform} if platform else None


if __name__ == "__main__":
    main()
