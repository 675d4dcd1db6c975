"""DynamoDB Local.

It listens on every interface: it has no option for an address. Its data is one file for every region and credential.
"""

from __future__ import annotations

from collections.abc import Mapping

from headrace.config import EnginesSettings
from headrace.errors import EngineError
from headrace.local.launch import LOOPBACK, Engine, Place

_MAIN = "software.amazon.dynamodb.services.local.main.ServerRunner"
_LIST_TABLES = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "DynamoDB_20120810.ListTables",
    # Signatures are not checked; the shape of the header is.
    "Authorization": "AWS4-HMAC-SHA256 Credential=local/20200101/us-east-1/dynamodb/aws4_request, "
    "SignedHeaders=host, Signature=0",
}


class DynamoDB(Engine):
    """DynamoDB Local 3, on disk with `up`, in memory for tests."""

    name = "dynamodb"
    jar_groups = ("dynamodb",)

    def heap_mb(self, settings: EnginesSettings) -> int:
        return settings.dynamodb_heap_mb

    def command(self, place: Place) -> list[str]:
        natives = [path.parent for path in place.jars if path.suffix != ".jar"]
        if not natives:
            raise EngineError(
                "DynamoDB Local has no SQLite library for this machine",
                expected="Linux on x86_64, or macOS",
                do="point store.endpoint at a DynamoDB you can reach",
            )
        kept = ["-inMemory"] if place.in_memory else ["-dbPath", str(place.data)]
        return [
            *place.virtual_machine(f"-Dsqlite4java.library.path={natives[0]}"),
            _MAIN,
            *["-port", str(place.ports["client"]), "-disableTelemetry", "-sharedDb", *kept],
        ]

    def endpoint(self, ports: Mapping[str, int]) -> str:
        return f"http://{LOOPBACK}:{ports['client']}"

    def answers(self, ports: Mapping[str, int], timeout_s: float) -> bool:
        import requests

        try:
            answer = requests.post(self.endpoint(ports), data="{}", headers=_LIST_TABLES, timeout=timeout_s)
            return answer.ok and "TableNames" in answer.json()
        except (requests.RequestException, ValueError):
            return False
