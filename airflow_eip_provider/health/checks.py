"""HTTP checks of the services on a primary node."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.rendered import number_of

# The names of the checks that are not HTTP checks.
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
    An HTTP request to the primary node, and the expected answer of a healthy service.

    :param name: the name in results and messages; unique among the checks of a sensor.
    :param port: the port of the service.
    :param path: the path and query, starting with a slash.
    :param scheme: "http" or "https".
    :param statuses: the HTTP statuses of a healthy service. Redirects are not followed. Other 401 and 403 answers say
        nothing about the service: the task fails because its credentials are wrong.
    :param expect: values in the JSON answer, by dotted path, such as ``{"clusterInfo.state": "STARTED"}``. In a list,
        a number is a position, and a name selects the first element that has it.
    :param verify: with https, whether to check the certificate, or the path of a file with CA certificates.
    :param auth_conn_id: an Airflow connection whose login and password are sent as basic authentication.
    :param timeout_seconds: the timeout of the whole request; at most 60.
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
        """Return the check as plain JSON, for templates and deferrals."""
        expect = None if self.expect is None else dict(self.expect)
        return {**asdict(self), "statuses": list(self.statuses), "expect": expect}

    def url(self, host: str) -> str:
        """Return the URL of the request; it contains no secret."""
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}{self.path}"

    def problem_with(self, status: int, body: bytes) -> str | None:
        """Return the problem with an answer; ``None`` for the answer of a healthy service."""
        if status not in self.statuses:
            return f"HTTP status {status} (expected {', '.join(map(str, self.statuses))})"
        if not self.expect:
            return None
        try:
            answer = json.loads(body)
        except ValueError:
            return f"the answer is not JSON: {body[:_SHOWN].decode('utf-8', 'replace')!r}"
        for path, expected in self.expect.items():
            value = _value_at(answer, path)
            if value is _MISSING:
                return f"the answer has no {path}"
            if value != expected:
                return f"{path} is {str(value)[:_SHOWN]!r} (expected {expected!r})"
        return None

    def refuses_credentials(self, status: int) -> bool:
        """Return whether the service refuses the credentials, which says nothing about its health."""
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


def as_mappings(checks: Any) -> Any:
    """Return the checks as mappings, in which templates are rendered; anything else, such as a template, unchanged."""
    checks = DEFAULT_CHECKS if checks is None else checks
    if isinstance(checks, HttpCheck):
        return [checks.as_mapping()]
    if isinstance(checks, (list, tuple)):
        return [check.as_mapping() if isinstance(check, HttpCheck) else check for check in checks]
    return checks


def checked_checks(checks: Any) -> list[HttpCheck]:
    """
    Validate the checks of a sensor or an operator.

    :param checks: one ``HttpCheck`` or mapping with its fields, or a list of them. A mapping with the name of a default
        check, such as "livy", needs only the fields that differ.
    :raises InvalidInputError: naming the check and what is wrong with it.
    """
    if isinstance(checks, (HttpCheck, Mapping)):
        checks = [checks]
    if not _is_list(checks):
        problem = f"this is {type(checks).__name__}, not a list of checks"
        raise _invalid("checks", problem=problem, remedy="give HttpCheck(...) or mappings")
    checked = [_checked(check) for check in checks]
    names = [check.name for check in checked]
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        problem = "more than one check has this name"
        raise _invalid(", ".join(duplicates), problem=problem, remedy="rename all but one")
    return checked


def _checked(check: Any) -> HttpCheck:
    check = check if isinstance(check, HttpCheck) else _from_mapping(check)
    name, path = check.name, check.path
    port, timeout = number_of(check.port), number_of(check.timeout_seconds)
    statuses = [number_of(status) for status in check.statuses] if _is_list(check.statuses) else []
    rules = (
        (
            isinstance(name, str) and _NAME.fullmatch(name) and name not in PLATFORM_CHECKS,
            f"this is not a name (letters, digits, '_', '.', '-'; none of {', '.join(PLATFORM_CHECKS)})",
        ),
        (port is not None and port == int(port) and 0 < port <= _HIGHEST_PORT, f"{check.port!r} is not a port"),
        (check.scheme in ("http", "https"), f"{check.scheme!r} is neither 'http' nor 'https'"),
        (
            isinstance(path, str) and re.fullmatch(r"/[^\s#]*", path),
            f"path {path!r} does not begin with '/', or contains white space or '#'",
        ),
        (
            statuses and all(status in _STATUSES for status in statuses),
            f"statuses {check.statuses!r} are not HTTP statuses",
        ),
        (
            timeout is not None and 0 < timeout <= _LONGEST_TIMEOUT_SECONDS,
            f"timeout_seconds {check.timeout_seconds!r} is not from 0 to {_LONGEST_TIMEOUT_SECONDS:.0f}",
        ),
        (
            check.expect is None or isinstance(check.expect, Mapping),
            f"expect is {type(check.expect).__name__}, not a mapping of paths to values",
        ),
        (isinstance(check.verify, (bool, str)), f"verify {check.verify!r} is neither a bool nor a path"),
        (
            check.auth_conn_id is None or isinstance(check.auth_conn_id, str),
            f"auth_conn_id {check.auth_conn_id!r} is not the name of a connection",
        ),
    )
    for is_met, problem in rules:
        if not is_met:
            raise _invalid(f"check {name!r}", problem=problem, remedy="see the parameters of HttpCheck")
    numbers = tuple(int(status) for status in statuses if status is not None)
    valid: HttpCheck = replace(check, port=int(port or 0), timeout_seconds=timeout, statuses=numbers)
    return valid


def _from_mapping(mapping: Any) -> HttpCheck:
    if not isinstance(mapping, Mapping):
        remedy = "give HttpCheck(...) or a mapping of its fields"
        raise _invalid("checks", problem=f"this is not a check but {type(mapping).__name__}", remedy=remedy)
    parameters = {field.name for field in fields(HttpCheck)}
    if unknown := sorted(map(str, set(mapping) - parameters)):
        raise _invalid(
            f"check {mapping.get('name')!r}",
            problem=f"it has no parameter {', '.join(unknown)}",
            remedy=f"use {', '.join(sorted(parameters))}",
        )
    default = next((check for check in DEFAULT_CHECKS if check.name == mapping.get("name")), None)
    if default is not None:
        return replace(default, **mapping)
    if missing := sorted({"name", "port"} - set(mapping)):
        problem = f"it has no {', '.join(missing)}"
        raise _invalid(f"check {mapping.get('name')!r}", problem=problem, remedy="give name and port")
    return HttpCheck(**mapping)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _value_at(answer: Any, path: str) -> Any:
    """Return the value at a dotted path of parsed JSON; ``_MISSING`` if there is none."""
    value = answer
    for part in path.split("."):
        if isinstance(value, list) and part.isdecimal():
            value = value[int(part)] if int(part) < len(value) else _MISSING
        elif isinstance(value, list):
            value = next((item[part] for item in value if isinstance(item, dict) and part in item), _MISSING)
        else:
            value = value.get(part, _MISSING) if isinstance(value, dict) else _MISSING
    return value


def _invalid(what: str, *, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"checking {what}", problem=problem, remedy=remedy)
