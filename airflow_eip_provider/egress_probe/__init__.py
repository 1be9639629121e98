"""The egress probe: an EMR step that shows a cluster's source address, and whether Azure SQL admits it."""

from __future__ import annotations

import base64
import functools
import gzip
import ipaddress
import math
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any, NoReturn
from urllib.parse import urlsplit

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.literals import is_template

ECHO_URL = "https://checkip.amazonaws.com"

# EMR's limit for all arguments of a step together.
_ARGUMENTS_LENGTH = 10_280
_SERVER = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(:(?P<port>\d{1,5}))?(/[^/\s;=@]{1,128})?")
_HIGHEST_PORT = 65535
_MOST = {"executors": 10_000, "wait_seconds": 86_400, "timeout_seconds": 3600}
# The script is passed as the shell's $0, so that no file in S3 is needed.
_UNPACK = (
    "set -o pipefail; d=$(mktemp -d) && trap 'rm -rf \"$d\"' EXIT && "
    'base64 -d <<< "$0" | gunzip > "$d/egress_probe.py" && {run} "$d/egress_probe.py" "$@"'
)
_SPARK = (
    "spark-submit --deploy-mode client --num-executors {executors} --executor-cores 1 "
    "--conf spark.dynamicAllocation.enabled=false"
)


def egress_probe_step(
    *,
    public_ip: str,
    servers: Sequence[str] = (),
    executors: int = 0,
    echo_url: str | None = ECHO_URL,
    wait_seconds: int = 330,
    timeout_seconds: int = 15,
    name: str = "egress probe",
    action_on_failure: str = "CANCEL_AND_WAIT",
) -> dict[str, Any]:
    """
    Return a step for AddJobFlowSteps that fails unless the cluster's connections leave from an Elastic IP.

    It needs no file in S3, no package and no credential. For each node it prints the address that was seen from outside
    and the answer of each server. Problems go to stderr, which the task's log shows.

    A template, or the output of a task, goes into the arguments unchanged and unchecked.
    ``StaticIpCluster.probe_egress`` checks it after it is rendered, before the step is submitted.

    :param public_ip: the expected Elastic IP, or a template of it.
    :param servers: Azure SQL servers to connect to: ``HOST[:PORT][/DATABASE]``, by default port 1433 and ``master``.
        Each sees one failed login of the user ``airflow-eip-probe``, which does not exist.
    :param executors: with 0, only the primary node connects; otherwise also this number of Spark executors with one
        core each.
    :param echo_url: a page that returns the client's address; with ``None``, only the servers are asked.
    :param wait_seconds: how long a server may take to apply a new firewall rule; Azure says up to five minutes.
    :param timeout_seconds: how long one answer may take.
    :param action_on_failure: as for any step; by default the steps that follow are cancelled. A cluster that runs steps
        in parallel accepts only "CONTINUE".
    :raises InvalidInputError: for a wrong address, server or page, or when there is neither a server nor a page.
    """
    _check(public_ip, servers, echo_url)
    numbers = {"executors": executors, "wait_seconds": wait_seconds, "timeout_seconds": timeout_seconds}
    for parameter, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            _refuse(parameter, problem="this is not a number")
        if not 0 <= number <= _MOST[parameter]:
            _refuse(parameter, problem=f"it is not from 0 to {_MOST[parameter]}")
    if timeout_seconds == 0 or executors != int(executors):
        _refuse("timeout_seconds and executors", problem="the timeout is 0, or the executors are not a whole number")
    options: list[Any] = ["--expect", public_ip, "--wait", str(wait_seconds), "--timeout", str(timeout_seconds)]
    options += [part for server in servers for part in ("--server", server)]
    options += ["--echo", echo_url] if echo_url else []
    options += ["--executors", str(int(executors))] if executors else []
    run = _SPARK.format(executors=int(executors)) if executors else "python3"
    arguments = ["bash", "-c", _UNPACK.format(run=run), _packed_script(), *options]
    if (length := sum(len(text) for text in arguments if isinstance(text, str))) > _ARGUMENTS_LENGTH:
        problem = f"the arguments have {length} characters; EMR accepts {_ARGUMENTS_LENGTH}"
        _refuse(f"{len(servers)} servers", problem=problem)
    return {
        "Name": name,
        "ActionOnFailure": action_on_failure,
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": arguments},
    }


@functools.cache
def _packed_script() -> str:
    """Return the script, always as the same bytes: a DAG must not change at every parse."""
    script = resources.files(__package__).joinpath("on_node.py").read_bytes()
    return base64.b64encode(gzip.compress(script, mtime=0)).decode()


def is_known(value: object) -> bool:
    """Whether a parameter is known already; a template and the output of a task are known when the task runs."""
    return not is_template(value) if isinstance(value, str) else not hasattr(value, "resolve")


def _check(public_ip: object, servers: object, echo_url: object) -> None:
    """
    Check what becomes an argument of the step, which EMR shows: a password in it is refused.

    The errors do not contain the values, for the same reason.
    """
    if is_known(public_ip):
        try:
            ipaddress.IPv4Address(str(public_ip))
        except ValueError:
            _refuse("public_ip", problem="this is not an IPv4 address")
    if isinstance(servers, (str, bytes)) or not isinstance(servers, Sequence):
        _refuse("servers", problem=f"this is {type(servers).__name__}, not a list")
    for number, server in enumerate(servers):
        if is_known(server) and not _is_server(server):
            _refuse(f"servers[{number}]", problem="this is not HOST[:PORT][/DATABASE]")
    if echo_url and is_known(echo_url) and not _is_page(echo_url):
        _refuse("echo_url", problem="this is not an https:// or http:// URL without a user")
    if not servers and not echo_url:
        _refuse("servers", problem="there is neither a server nor an echo_url to ask")


def _is_server(server: object) -> bool:
    found = _SERVER.fullmatch(server) if isinstance(server, str) else None
    return found is not None and 0 < int(found["port"] or 1) <= _HIGHEST_PORT


def _is_page(url: object) -> bool:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
    except ValueError:
        return False
    has_user = "@" in parts.netloc
    return (
        parts.scheme in {"https", "http"} and bool(parts.hostname) and not has_user and not re.search(r"\s", str(url))
    )


def _refuse(subject: str, *, problem: str) -> NoReturn:
    raise InvalidInputError(f"making an egress probe, checking {subject}", problem=problem, remedy="correct it")
