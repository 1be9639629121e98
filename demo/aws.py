"""A client of the local EMR: AWS's own APIs, and its control API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlencode

import boto3
import httpx

_REQUEST_SECONDS = 60.0
_PAGE = 1000
REGION = "eu-west-1"
CREDENTIALS = {"aws_access_key_id": "demo", "aws_secret_access_key": "local-demo"}
ACTIVE_STATES = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING"]


class AwsError(Exception):
    """The local EMR refused a request; the message has the request and the reason."""


@dataclass(frozen=True, kw_only=True)
class AzureSql:
    """The address of an Azure SQL Database, or of its stand-in."""

    host: str
    port: int


class AwsClient:
    """A client of a running local EMR."""

    def __init__(self, url: str, *, timeout_seconds: float = _REQUEST_SECONDS) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=timeout_seconds, trust_env=False)
        self._log = ""
        self._events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    @property
    def connection(self) -> str:
        """URI of an Airflow connection to it."""
        extra = {"endpoint_url": self.url, "region_name": REGION}
        login = f"{CREDENTIALS['aws_access_key_id']}:{CREDENTIALS['aws_secret_access_key']}"
        return f"aws://{login}@/?{urlencode(extra)}"

    def is_healthy(self) -> bool:
        """Whether it answers."""
        try:
            return self._http.get("/_local/health").is_success
        except httpx.TransportError:
            return False

    def health(self) -> dict[str, Any]:
        """Return its description of itself."""
        return self._control("GET", "health")

    def client(self, service: str) -> Any:
        """Return a boto3 client of one service."""
        return boto3.client(service, endpoint_url=self.url, region_name=REGION, **CREDENTIALS)

    def azure_sql(self) -> AzureSql:
        """Return the address of the Azure SQL stand-in."""
        server = self.health()["azure_sql"]
        return AzureSql(host=server["host"], port=server["port"])

    def time(self) -> datetime:
        """Return the simulated time."""
        return datetime.fromisoformat(self.health()["time"])

    def events(self) -> list[dict[str, Any]]:
        """Return the whole event log; events that were read before are not read again."""
        while True:
            answer = self._control("GET", "events", params={"after": len(self._events), "limit": _PAGE})
            if answer["log"] != self._log:  # the first read, or a new log after a reset, which is numbered from 1
                fresh = not self._events
                self._log, self._events = answer["log"], []
                if not fresh:
                    continue
            self._events += answer["events"]
            if len(self._events) >= answer["last"]:
                return list(self._events)

    def fault(self, **fault: Any) -> None:
        """Plan a fault; the README of the local EMR lists its fields."""
        self._control("POST", "faults", json=fault)

    def limit_capacity(self, zone: str, *, instance_type: str) -> None:
        """Remove all capacity for an instance type from an Availability Zone."""
        self._control("POST", "zones/limit", json={"zone": zone, "instance_type": instance_type})

    def lose_primary(self, job_flow_id: str) -> None:
        """Lose the machine of a cluster's primary node; EMR notices it after half an hour."""
        self._control("POST", "clusters/lose-primary", json={"job_flow_id": job_flow_id, "emr_notices_after": 1800})

    def admit(self, name: str, address: str) -> None:
        """Register an address with the Azure SQL firewall."""
        rule = {"start_ip_address": address, "end_ip_address": address}
        self._control("PUT", f"azure-sql/firewall-rules/{name}", json=rule)

    def pass_database_on(self, server: AzureSql | None) -> None:
        """Put a real SQL Server behind the firewall; None for the stand-in."""
        upstream = None if server is None else {"host": server.host, "port": server.port}
        self._control("PUT", "azure-sql/upstream", json={"upstream": upstream})

    def sql(self, statement: str, *, database: str) -> dict[str, Any]:
        """Run a statement as the database's administrator, who needs no firewall rule."""
        return self._control("POST", "azure-sql/query", json={"sql": statement, "database": database})

    def _control(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        answer = self._http.request(method, f"/_local/{path}", **arguments)
        if answer.is_error:
            raise AwsError(f"the local EMR refused {method} {path} with {answer.status_code}: {answer.text[:400]}")
        body: dict[str, Any] = answer.json() if answer.content else {}
        return body
