"""The local AWS for the demo: its process, what is in it before the DAGs run, and how to read it."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import boto3
import httpx

from demo.airflow import clean_environment
from demo.processes import DemoError, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from demo.processes import Child, Children

_READY_SECONDS = 60.0
REGION = "eu-west-1"
CREDENTIALS = {"aws_access_key_id": "demo", "aws_secret_access_key": "local-demo"}
ACTIVE_STATES = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING"]


@dataclass(frozen=True, kw_only=True)
class AzureSql:
    """Where the Azure SQL stand-in listens."""

    host: str
    port: int


class LocalAws:
    """
    The local AWS as a process of the demo's own.

    :param time_scale: simulated seconds a real second.
    """

    def __init__(self, children: Children, *, state: Path, time_scale: float, port: int | None = None) -> None:
        self._children = children
        self._port = port or free_port()
        self._state = state
        self._time_scale = time_scale
        self._child: Child | None = None
        self.url = f"http://127.0.0.1:{self._port}"
        self._http = httpx.Client(base_url=self.url, timeout=20.0, trust_env=False)

    @property
    def pid(self) -> int:
        """The process whose descendants run the steps."""
        if self._child is None:
            raise DemoError("the local AWS was not started")
        return self._child.process.pid

    def start(self) -> None:
        """
        Start the process and wait until it answers.

        :raises DemoError: when it does not in time.
        """
        self._state.mkdir(parents=True)
        module = [sys.executable, "-m", "airflow_eip_provider.local_aws", "--port", str(self._port)]
        options = ["--time-scale", str(self._time_scale), "--state", str(self._state)]
        self._child = self._children.start("local-aws", [*module, *options], env=clean_environment({}))
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            self._children.check()
            try:
                if self._http.get("/_local/health").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.5)
        raise DemoError(f"the local AWS does not answer after {_READY_SECONDS:.0f} s; its log: {self._child.log}")

    def client(self, service: str) -> Any:
        """Return a boto3 client of one service."""
        return boto3.client(service, endpoint_url=self.url, region_name=REGION, **CREDENTIALS)

    def azure_sql(self) -> AzureSql:
        """Return where the Azure SQL stand-in listens."""
        where = self._control("GET", "health")["azure_sql"]
        return AzureSql(host=where["host"], port=where["port"])

    def time(self) -> datetime:
        """Return the simulated time."""
        return datetime.fromisoformat(self._control("GET", "health")["time"])

    def events(self) -> list[dict[str, Any]]:
        """Return everything that has happened."""
        found: list[dict[str, Any]] = self._control("GET", "events")["events"]
        return found

    def fault(self, **fault: Any) -> None:
        """Plan a fault; see the local AWS's own page for its fields."""
        self._control("POST", "faults", json=fault)

    def admit(self, name: str, address: str) -> None:
        """Register an address with the Azure SQL firewall."""
        rule = {"start_ip_address": address, "end_ip_address": address}
        self._control("PUT", f"azure-sql/firewall-rules/{name}", json=rule)

    def sql(self, statement: str, *, database: str) -> dict[str, Any]:
        """Run a statement as the database's administrator, who needs no firewall rule."""
        return self._control("POST", "azure-sql/query", json={"sql": statement, "database": database})

    def _control(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        answer = self._http.request(method, f"/_local/{path}", **arguments)
        if answer.is_error:
            raise DemoError(f"the local AWS refused {method} {path} with {answer.status_code}: {answer.text[:400]}")
        body: dict[str, Any] = answer.json() if answer.content else {}
        return body
