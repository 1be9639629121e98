"""The environment of the page's tests: a lock store with three addresses, and the web server of a real Airflow."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx

from airflow_eip_provider.stores.records import to_text
from airflow_eip_provider.stores.uri import open_store
from harness.airflow import clean_environment, sqlite_url
from harness.processes import Children, free_port
from harness.wait import wait_for
from tests.real_airflow import ROOT, version_of
from tests.unit.ui.stories import BUSY, FREE, NOW, lease

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import Record

# A folder of virtual environments with an Airflow each; the provider is installed in them without its dependencies.
VENVS = Path(os.environ.get("PAGE_VENVS", ROOT.parent / "page-venvs"))
PASSWORD = "pass-word-of-a-test"
REGION = "eu-west-1"
FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
EVIL = "prod/<script>document.title='taken'</script>/run/create/-1"
_START_SECONDS = 600.0


def shift_times(record: Record, seconds: float) -> Record:
    now = record.lease
    return replace(
        record,
        lease=now
        and replace(
            now,
            acquired_at=now.acquired_at + seconds,
            written_at=now.written_at + seconds,
            handover_by=now.handover_by + seconds,
        ),
        free_since=record.free_since + seconds,
        queue=tuple(
            replace(
                entry,
                arrived_at=entry.arrived_at + seconds,
                prewarmed_at=None if entry.prewarmed_at is None else entry.prewarmed_at + seconds,
            )
            for entry in record.queue
        ),
        history=tuple(
            replace(ended, acquired_at=ended.acquired_at + seconds, ended_at=ended.ended_at + seconds)
            for ended in record.history
        ),
    )


class MotoAws:
    """DynamoDB and EC2 of moto in this process, where reads are counted and the store can be made to fail."""

    def __init__(self) -> None:
        from moto.dynamodb.models import DynamoDBBackend  # noqa: PLC0415 - slow
        from moto.server import ThreadedMotoServer  # noqa: PLC0415

        self.reads: list[float] = []
        self.is_down = False
        self._get_item = DynamoDBBackend.get_item
        self._backend: Any = DynamoDBBackend
        self._server = ThreadedMotoServer("127.0.0.1", port=free_port(), verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "-",
            "AWS_SECRET_ACCESS_KEY": "-",
            "AWS_DEFAULT_REGION": REGION,
        }
        self._patch()
        self.store = open_store("dynamodb://leases?create=true", lambda service, region: self.client(service))
        self.store.check()
        self.addresses = self._addresses()

    def client(self, service: str) -> Any:
        return boto3.Session("-", "-", region_name=REGION).client(
            service, endpoint_url=self.environment["AWS_ENDPOINT_URL"]
        )

    def _patch(self) -> None:
        def get_item(backend: Any, *arguments: Any, **named: Any) -> Any:
            self.reads.append(time.monotonic())
            if self.is_down:
                raise RuntimeError("the store is down")
            return self._get_item(backend, *arguments, **named)

        self._backend.get_item = get_item

    def _addresses(self) -> list[str]:
        """Allocate three addresses, in the order of the page, and associate the first and the last."""
        ec2 = self.client("ec2")
        ips = (f"203.0.113.{last}" for last in (17, 21, 42))
        allocation_ids = sorted(ec2.allocate_address(Domain="vpc", Address=ip)["AllocationId"] for ip in ips)
        subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        for allocation_id in (allocation_ids[0], allocation_ids[2]):
            interface = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
            ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface)
        return allocation_ids

    def put_record(self, place: int, record: Record | str | None) -> None:
        """Replace the record of an address by a record or a text; delete it for None."""
        table, key = self.client("dynamodb"), {"address": {"S": self.addresses[place]}}
        if record is None:
            table.delete_item(TableName="leases", Key=key)
            return
        text = record if isinstance(record, str) else to_text(record)
        table.put_item(TableName="leases", Item={**key, "version": {"S": str(time.time())}, "record": {"S": text}})

    def fill(self) -> None:
        """Write the records: the first address has a queue of five and 500 ended leases, the second one is free."""
        ago = time.time() - NOW
        self.put_record(0, shift_times(BUSY, ago))
        self.put_record(1, shift_times(FREE, ago))
        self.put_record(2, shift_times(replace(BUSY, lease=lease(3, name=EVIL), queue=(), history=()), ago))

    def stop(self) -> None:
        self._backend.get_item = self._get_item
        self._server.stop()


@dataclass
class Site:
    """
    The web server of an Airflow.

    :param url: with its path, without a slash at the end.
    :param fab: whether Flask AppBuilder manages users and roles; otherwise the simple auth manager does.
    """

    version: tuple[int, ...]
    url: str
    fab: bool

    @property
    def page(self) -> str:
        return f"{self.url}/elastic-ips/"

    def token(self, user: str) -> str:
        """Log in with the API of Airflow 3, and return the token."""
        asked = {"username": user, "password": PASSWORD}
        answer = httpx.post(f"{self.url}/auth/token", json=asked, trust_env=False, timeout=60)
        return str(answer.raise_for_status().json()["access_token"])


def start(children: Children, *, venv: Path, state: Path, path: str, aws: MotoAws) -> Site:
    """Start the web server of the Airflow in an environment, below a path, and wait until it answers."""
    version, port = version_of(venv), free_port()
    python = str(venv / "bin" / "python")
    url = f"http://127.0.0.1:{port}{path}"
    fab = version[:2] != (3, 3)  # the environment of this repository has no FAB
    home = state / "airflow"
    home.mkdir(parents=True)
    path_of_venv = {"PATH": f"{venv / 'bin'}:{os.environ['PATH']}", "VIRTUAL_ENV": ""}
    settings = _settings(home, url, fab=fab, version=version)
    environment = clean_environment({**aws.environment, **settings, **path_of_venv})
    _checked([python, "-m", "airflow", "db", "migrate"], environment)
    if fab:
        _checked([python, "-c", _USERS, PASSWORD], environment)
    else:
        users = dict.fromkeys(("admin", "viewer"), PASSWORD)
        (home / "passwords.json").write_text(json.dumps(users), encoding="utf-8")
    server = ("api-server", "--host", "127.0.0.1") if version >= (3,) else ("webserver", "--hostname", "127.0.0.1")
    command = [python, "-m", "airflow", *server, "--port", str(port), "--workers", "1"]
    children.start("web-server", command, env=environment)
    health = f"{url}/api/v2/monitor/health" if version >= (3,) else f"{url}/health"

    def answers() -> bool:
        children.check()
        try:
            return httpx.get(health, trust_env=False, timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    problem = f"{health} does not answer"
    wait_for(answers, seconds=_START_SECONDS, error=lambda: AssertionError(problem), pause_seconds=1)
    return Site(version, url, fab)


def _checked(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stdout[-1500:], done.stderr[-3000:])


def _settings(home: Path, url: str, *, fab: bool, version: tuple[int, ...]) -> dict[str, str]:
    options = {
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_FOLDER": str(home / "dags"),
        "DATABASE__SQL_ALCHEMY_CONN": sqlite_url(home / "airflow.db"),
        "EIP__ENVIRONMENT": "prod",
        "EIP__LOCK_STORE": "dynamodb://leases",
        "API__BASE_URL": url,
        "API__SECRET_KEY": "of-a-test",
        "API_AUTH__JWT_SECRET": "of-a-test-that-is-long-enough-for-a-signature-of-64-bytes-or-more",
        "WEBSERVER__BASE_URL": url,
        "WEBSERVER__SECRET_KEY": "of-a-test",
        "FAB__AUTH_RATE_LIMITED": "False",
        "WEBSERVER__WEB_SERVER_MASTER_TIMEOUT": "600",
        "WEBSERVER__WEB_SERVER_WORKER_TIMEOUT": "600",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
    }
    if version < (3,):
        options["CORE__EXECUTOR"] = "SequentialExecutor"
    elif fab:
        options["CORE__AUTH_MANAGER"] = FAB
    return {"AIRFLOW_HOME": str(home)} | {f"AIRFLOW__{name}": value for name, value in options.items()}


# Creates three users: an admin, a reader of the DAG "holder" only, and one without access to the website. The last one
# has the role Public, because all other roles have that right. One process creates all, because Airflow starts slowly.
_USERS = """
import sys
from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
with get_application_builder() as appbuilder:
    manager = appbuilder.sm
    manager.sync_roles()
    role = manager.add_role("ReadsHolder")
    for resource in ("Website", "DAG:holder"):
        manager.add_permission_to_role(role, manager.create_permission("can_read", resource))
    for name, role in {"admin": "Admin", "reader": "ReadsHolder", "nobody": "Public"}.items():
        address = f"{name}@example.invalid"
        assert manager.add_user(name, name, "-", address, manager.find_role(role), password=sys.argv[1])
"""
