"""What is asked of a service on the primary node, and what its answer means."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.rendered import number_of

# What the state of the cluster and of its instance is called beside the HTTP checks.
EMR_STATE, EC2_STATE = "emr_state", "ec2_state"
EC2_INSTANCE_STATUS, EC2_SYSTEM_STATUS = "ec2_instance_status", "ec2_system_status"
PLATFORM_CHECKS = (EMR_STATE, EC2_STATE, EC2_INSTANCE_STATUS, EC2_SYSTEM_STATUS)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HIGHEST_PORT = 65535
_STATUSES = range(100, 600)
_LONGEST_TIMEOUT_SECONDS = 60.0
_REFUSED = frozenset({401, 403})
_SHOWN = 200  # characters of an answer that a message quotes
_MISSING: Any = object()


@dataclass(frozen=True, kw_only=True)
class HttpCheck:
    """
    One HTTP request to the primary node, and the answer that a healthy service gives.

    :param name: in results and messages; unique among the checks of a sensor.
    :param port: of the service.
    :param path: with its query, from the slash on.
    :param scheme: "http" or "https".
    :param statuses: the HTTP statuses of a healthy service. A redirect is not followed. 401 and 403, unless they are
        among them, are no sign of a sick service: the task that watches fails, because its credentials are wrong.
    :param expect: values in the JSON answer, by dotted path, such as ``{"clusterInfo.state": "STARTED"}``. In a list
        a number is a position, and a name means the first element that has it.
    :param verify: with https, whether to check the certificate, or the path of a file with the CA's certificates.
    :param auth_conn_id: an Airflow connection whose login and password are sent as basic authentication.
    :param timeout_seconds: for the whole request; up to 60.
    """

    name: str
    port: int
    path: str = "/"
    scheme: str = "http"
    statuses: Sequence[int] = (200,)
    expect: Mapping[str, Any] | None = None
    verify: bool | str = True
    auth_conn_id: str | None = None
    timeout_seconds: float = 5.0

    def as_mapping(self) -> dict[str, Any]:
        """Return the same as plain JSON: what templates are rendered in, and what a deferral carries."""
        found = asdict(self)
        return {**found, "statuses": list(self.statuses), "expect": None if self.expect is None else dict(self.expect)}

    def url(self, host: str) -> str:
        """Return the address of the request; it holds no secret."""
        shown = f"[{host}]" if ":" in host else host
        return f"{self.scheme}://{shown}:{self.port}{self.path}"

    def problem_with(self, status: int, body: bytes) -> str | None:
        """Return what is wrong with an answer, in words; ``None`` for that of a healthy service."""
        if status not in self.statuses:
            return f"HTTP status {status} (expected {', '.join(map(str, self.statuses))})"
        if not self.expect:
            return None
        try:
            answer = json.loads(body)
        except ValueError:
            return f"the answer is no JSON: {body[:_SHOWN].decode('utf-8', 'replace')!r}"
        for path, wanted in self.expect.items():
            found = _value_at(answer, path)
            if found is _MISSING:
                return f"the answer has no {path}"
            if found != wanted:
                return f"{path} is {str(found)[:_SHOWN]!r} (expected {wanted!r})"
        return None

    def refuses_credentials(self, status: int) -> bool:
        """Whether an answer says that the request itself is not allowed, which says nothing of the service."""
        return status in _REFUSED and status not in self.statuses


# The services of a primary node with their ports on EMR 6 and 7 (EMR Management Guide, "View web interfaces hosted on
# Amazon EMR clusters"). YARN: ResourceManager REST API, clusterInfo.state. HDFS: the NameNode's bean FSNamesystemState,
# whose FSState is "Operational" or "safeMode". Livy: its REST API, GET /batches.
YARN = HttpCheck(name="yarn", port=8088, path="/ws/v1/cluster/info", expect={"clusterInfo.state": "STARTED"})
HDFS = HttpCheck(
    name="hdfs",
    port=9870,
    path="/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState",
    expect={"beans.FSState": "Operational"},
)
LIVY = HttpCheck(name="livy", port=8998, path="/batches?from=0&size=1")
DEFAULT_CHECKS = (YARN, HDFS, LIVY)


def checked_checks(given: Any) -> list[HttpCheck]:
    """
    Read the checks that a sensor is given: HttpCheck, or mappings with its fields; a list, or one.

    A mapping whose name is that of a default, such as "livy", needs only what differs from it.

    :raises InvalidInputError: naming the check and what is wrong with it.
    """
    if isinstance(given, (HttpCheck, Mapping)):
        given = [given]
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise _invalid(repr(given), problem="this is no list of checks", remedy="give HttpCheck(...) or mappings")
    checks = [_checked(one) for one in given]
    names = [check.name for check in checks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _invalid(", ".join(twice), problem="more than one check has this name", remedy="rename all but one")
    return checks


def _checked(given: Any) -> HttpCheck:
    check = given if isinstance(given, HttpCheck) else _from_mapping(given)
    port, timeout = number_of(check.port), number_of(check.timeout_seconds)
    statuses = [number_of(status) for status in check.statuses] if _is_list(check.statuses) else []
    problem = _problem_with_name(check.name) or _problem_with_request(check)
    if port is None or port != int(port) or not 0 < port <= _HIGHEST_PORT:
        problem = f"{check.port!r} is no port"
    elif not statuses or any(status not in _STATUSES for status in statuses):
        problem = f"statuses {check.statuses!r} are no HTTP statuses"
    elif timeout is None or not 0 < timeout <= _LONGEST_TIMEOUT_SECONDS:
        problem = f"timeout_seconds {check.timeout_seconds!r} is not from 0 to {_LONGEST_TIMEOUT_SECONDS:.0f}"
    elif problem is None:
        numbers = tuple(int(status) for status in statuses if status is not None)
        return replace(check, port=int(port), timeout_seconds=timeout, statuses=numbers)
    raise _invalid(f"check {check.name!r}", problem=str(problem), remedy="see HttpCheck for what it takes")


def _problem_with_name(name: object) -> str | None:
    if isinstance(name, str) and _NAME.fullmatch(name) and name not in PLATFORM_CHECKS:
        return None
    return f"this is no name (letters, digits, '_', '.', '-'; none of {', '.join(PLATFORM_CHECKS)})"


def _problem_with_request(check: Any) -> str | None:
    if check.scheme not in {"http", "https"}:
        return f"{check.scheme!r} is neither 'http' nor 'https'"
    if not isinstance(check.path, str) or not check.path.startswith("/") or re.search(r"[\s#]", check.path):
        return f"path {check.path!r} does not begin with '/', or holds white space or '#'"
    if check.expect is not None and not isinstance(check.expect, Mapping):
        return f"expect {check.expect!r} is no mapping of paths to values"
    if not isinstance(check.verify, (bool, str)):
        return f"verify {check.verify!r} is neither a bool nor a path"
    if check.auth_conn_id is not None and not isinstance(check.auth_conn_id, str):
        return f"auth_conn_id {check.auth_conn_id!r} is no connection's name"
    return None


def _from_mapping(given: Any) -> HttpCheck:
    if not isinstance(given, Mapping):
        raise _invalid(repr(given), problem="this is no check", remedy="give HttpCheck(...) or a mapping of its fields")
    known = {field.name for field in fields(HttpCheck)}
    if unknown := sorted(map(str, set(given) - known)):
        raise _invalid(
            f"check {given.get('name')!r}",
            problem=f"it has no parameter {', '.join(unknown)}",
            remedy=f"use {', '.join(sorted(known))}",
        )
    default = next((check for check in DEFAULT_CHECKS if check.name == given.get("name")), None)
    if default is not None:
        return replace(default, **given)
    if missing := sorted({"name", "port"} - set(given)):
        raise _invalid(f"check {dict(given)!r}", problem=f"it has no {', '.join(missing)}", remedy="give name and port")
    return HttpCheck(**given)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _value_at(answer: Any, path: str) -> Any:
    """Return what stands at a dotted path of parsed JSON; ``_MISSING`` for nothing."""
    here = answer
    for part in path.split("."):
        if isinstance(here, list):
            if part.isdecimal():
                here = here[int(part)] if int(part) < len(here) else _MISSING
            else:
                here = next((item[part] for item in here if isinstance(item, dict) and part in item), _MISSING)
        else:
            here = here.get(part, _MISSING) if isinstance(here, dict) else _MISSING
        if here is _MISSING:
            return _MISSING
    return here


def _invalid(what: str, *, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"checking {what}", problem=problem, remedy=remedy)
