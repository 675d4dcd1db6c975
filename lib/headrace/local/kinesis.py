"""The Kinesis stand-in: moto's server with its resharding mended; it keeps streams in memory."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from headrace.local.launch import LOOPBACK, Place
from headrace.local.moto import Moto


class KinesisEngine(Moto):
    """Streams end with it: played back they would be new ones, whose records would all count again."""

    name = "kinesis"

    def command(self, place: Place) -> list[str]:
        port = str(place.ports["client"])
        # Not with -m, as moto's classes take the name of their service from that of their module.
        serve = "from headrace.local.kinesis_server import serve; serve()"
        return [sys.executable, "-c", serve, "-H", LOOPBACK, "-p", port]

    def answers(self, ports: Mapping[str, int], timeout_s: float) -> bool:
        import requests

        # Of the signature the server reads the service alone.
        signature = "AWS4-HMAC-SHA256 Credential=local/20000101/us-east-1/kinesis/aws4_request"
        headers = {"X-Amz-Target": "Kinesis_20131202.ListStreams", "Content-Type": "application/x-amz-json-1.1"}
        try:
            answer = requests.post(
                self.endpoint(ports), data="{}", headers={**headers, "Authorization": signature}, timeout=timeout_s
            )
            return answer.ok and "StreamNames" in answer.text
        except requests.RequestException:
            return False
