"""A local EMR in a process of its own, with a real clock and steps that really run."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3

from local_emr.testing import client_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

REGION = "eu-west-1"
_EMR_AND_POLICIES = """
import json, sys
from pathlib import Path
from local_emr.complete import complete_aws
with complete_aws(Path(sys.argv[1])) as aws:
    print(aws.endpoint_url, flush=True)
    for line in sys.stdin:
        aws.enforce(json.loads(line), access_key_id="airflow")
        print("enforced", flush=True)
"""


class Served:
    """A local EMR in another process; a test uses its HTTP API."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = self._read_line()
        self._clients: list[Any] = []
        self._forgotten = 0
        self.ec2, self.emr = self.client("ec2"), self.client("emr")
        self.allocation_id = str(self.ec2.allocate_address(Domain="vpc")["AllocationId"])
        self.subnet_id = str(self.ec2.describe_subnets()["Subnets"][0]["SubnetId"])

    def _read_line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def enforce(self, document: Mapping[str, Any]) -> None:
        """Allow the access key "airflow" only what a policy allows."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(document) + "\n")
        self._process.stdin.flush()
        assert self._read_line() == "enforced"

    def environment(self, *, access_key_id: str = "testing") -> dict[str, str]:
        """Return the environment of a process that uses it, without this process's settings of AWS and Airflow."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS", "AIRFLOW"))}
        where: Any = SimpleNamespace(endpoint_url=self.url, region=REGION)
        return {**kept, **client_environment(where), "AWS_ACCESS_KEY_ID": access_key_id}

    def client(self, service: str) -> Any:
        """Return a client with all permissions."""
        credentials = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        made = boto3.client(service, endpoint_url=self.url, region_name=REGION, **credentials)
        self._clients.append(made)
        return made

    def calls(self) -> list[dict[str, Any]]:
        """Return every API call since the last that was forgotten."""
        return [event for event in self._log()["events"] if event["kind"] == "call"]

    def forget_calls(self) -> None:
        """Begin anew for another test."""
        self._forgotten = self._log()["last"]

    def _log(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/_local/events?kind=call&after={self._forgotten}") as answer:
            log: dict[str, Any] = json.load(answer)
        return log

    def cluster_states(self) -> list[str]:
        """Return the state of every cluster."""
        return [str(cluster["Status"]["State"]) for cluster in self.emr.list_clusters()["Clusters"]]

    def is_free(self) -> bool:
        """Whether the address is not associated."""
        return "AssociationId" not in self.ec2.describe_addresses()["Addresses"][0]

    def close(self) -> None:
        """Close the clients."""
        for client in self._clients:
            client.close()


@contextlib.contextmanager
def served(directory: Path) -> Iterator[Served]:
    """Start a local EMR whose clock runs 60 times as fast as real time, and stop it at the end."""
    command = [sys.executable, "-c", _EMR_AND_POLICIES, str(directory)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with subprocess.Popen(command, text=True, env=environment, **pipes) as process:
        made = Served(process)
        try:
            yield made
        finally:
            made.close()
            assert process.stdin is not None
            process.stdin.close()  # the process ends then
