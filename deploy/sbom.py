"""Write dist/sbom.cdx.json: what a release is made of, as CycloneDX 1.6, from the lock files alone.

Python packages are those of requirements/run.txt, jars those of jars.toml, with the SHA-256 that they must have to be
loaded. Equal lock files make equal text.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid5

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parent.parent
_PINNED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==(?P<version>[^\s;\\]+)")
_NAMESPACE = UUID("6b1f4c1e-5d0a-4f5e-9a55-8f2d3a7c0e11")


def main() -> None:
    made = sbom()
    out = ROOT / "dist" / "sbom.cdx.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(made, "utf-8")
    sys.stdout.write(f"{out}\n")


def sbom(root: Path = ROOT) -> str:
    """The bill of materials as JSON text."""
    components = [*python_packages(root / "requirements" / "run.txt"), *jars(root / "lib" / "headrace" / "jars.toml")]
    version = re.search(r'version="([^"]+)"', (root / "setup.py").read_text("utf-8"))
    if version is None:
        raise SystemExit("setup.py names no version")
    release = Component(name="headrace", version=version[1], type=ComponentType.APPLICATION, bom_ref="headrace")
    bom = Bom(components=components)
    bom.metadata.component = release
    bom.register_dependency(release, components)
    # Not of now and at random, so that equal locks make equal text.
    bom.serial_number = uuid5(_NAMESPACE, "\n".join(str(component.purl) for component in components))
    told = json.loads(JsonV1Dot6(bom).output_as_string())
    del told["metadata"]["timestamp"]
    return json.dumps(told, indent=2) + "\n"


def python_packages(lock: Path) -> Iterator[Component]:
    """One component a pinned package."""
    for line in lock.read_text("utf-8").splitlines():
        found = _PINNED.match(line)
        if found is not None:
            purl = PackageURL("pypi", name=found["name"].lower().replace("_", "-"), version=found["version"])
            yield _library(purl, [])


def jars(lock: Path) -> Iterator[Component]:
    """One component a jar, named once although several groups load it."""
    artifacts = {
        one["path"]: one["sha256"]
        for groups in tomllib.loads(lock.read_text("utf-8")).values()
        for group in groups.values()
        for one in group["artifacts"]
    }
    for path, sha256 in sorted(artifacts.items()):
        *folders, module, version, file = path.split("/")
        kind = file.removeprefix(f"{module}-{version}").lstrip("-")
        classifier, _, extension = kind.rpartition(".")
        qualifiers = {"type": extension} | ({"classifier": classifier} if classifier else {})
        purl = PackageURL("maven", ".".join(folders), module, version, qualifiers)
        yield _library(purl, [HashType(alg=HashAlgorithm.SHA_256, content=sha256)], path)


def _library(purl: PackageURL, hashes: list[HashType], path: str | None = None) -> Component:
    return Component(
        name=purl.name,
        group=purl.namespace,
        version=purl.version,
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=str(purl),
        hashes=hashes,
        properties=[Property(name="headrace:maven-path", value=path)] if path else None,
    )


if __name__ == "__main__":
    main()
