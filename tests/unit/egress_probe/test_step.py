"""The step that carries the probe: what it is made of, and what is refused."""

from __future__ import annotations

import ast
import base64
import gzip
from pathlib import Path
from typing import Any

import pytest
from pyspark import cloudpickle

from airflow_eip_provider import egress_probe
from airflow_eip_provider.egress_probe import egress_probe_step
from airflow_eip_provider.exceptions import InvalidInputError

SERVER = "example.database.windows.net"


def arguments(**options: Any) -> list[str]:
    step = egress_probe_step(**{"public_ip": "203.0.113.9", "servers": [SERVER], **options})
    return list(step["HadoopJarStep"]["Args"])


def test_the_script_is_complete_and_the_same_at_every_parse():
    script = Path(egress_probe.__file__).with_name("on_node.py").read_bytes()
    assert gzip.decompress(base64.b64decode(arguments()[3])) == script
    egress_probe._packed_script.cache_clear()
    assert arguments() == arguments()


def test_the_script_is_written_in_the_python_of_the_oldest_emr():
    script = Path(egress_probe.__file__).with_name("on_node.py").read_text(encoding="utf-8")
    ast.parse(script, feature_version=(3, 7))


def test_what_spark_ships_to_its_executors_can_be_shipped():
    script = Path(egress_probe.__file__).with_name("on_node.py").read_text(encoding="utf-8")
    main = {"__name__": "__main__"}
    exec(compile(script.split('if __name__ == "__main__":')[0], "egress_probe.py", "exec"), main)
    options = {"echo": None, "servers": [], "expect": "203.0.113.9", "timeout": 1, "wait": 0}
    assert cloudpickle.loads(cloudpickle.dumps(main["probe"]))(options)[1:] == ([], [])


def test_there_is_room_for_many_servers_within_emrs_limit_and_no_more():
    assert sum(map(len, arguments(servers=[f"{n:02}-{SERVER}" for n in range(30)]))) <= 10_280
    with pytest.raises(InvalidInputError, match="EMR accepts 10280"):
        arguments(servers=[f"{n:03}-{SERVER}" for n in range(300)])


def test_steps_that_follow_a_failed_probe_are_cancelled():
    assert egress_probe_step(public_ip="203.0.113.9")["ActionOnFailure"] == "CANCEL_AND_WAIT"


def test_a_template_is_left_to_airflow():
    assert "{{ params.ip }}" in arguments(public_ip="{{ params.ip }}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"public_ip": "eipalloc-0123456789abcdef0"}, "not an IPv4 address"),
        ({"servers": SERVER}, "not a list"),
        ({"servers": ["sql; rm -rf /"]}, "not HOST"),
        ({"servers": ["--help"]}, "not HOST"),
        ({"echo_url": "file:///etc/passwd"}, "not an https:// or http:// URL"),
        ({"servers": [], "echo_url": None}, "neither"),
        ({"executors": -1}, "from 0 to"),
        ({"executors": 1.5}, "whole number"),
        ({"executors": float("inf")}, "not a number"),
        ({"wait_seconds": float("inf")}, "not a number"),
        ({"wait_seconds": 10**30}, "from 0 to 86400"),
        ({"timeout_seconds": float("nan")}, "not a number"),
        ({"timeout_seconds": 0}, "timeout is 0"),
        ({"servers": [f"{SERVER}:99999"]}, "not HOST"),
        ({"servers": [f"{SERVER}:0"]}, "not HOST"),
        ({"servers": [f"{SERVER}/db;password=S3cr3t"]}, "not HOST"),
        ({"servers": ["u:S3cr3t@h"]}, "not HOST"),
        ({"servers": ["jdbc:sqlserver://h;password=S3cr3t"]}, "not HOST"),
        ({"servers": "u:S3cr3t"}, "not a list"),
        ({"echo_url": "https://user:S3cr3t@host"}, "without a user"),
        ({"echo_url": "https://S3cr3t@host"}, "without a user"),
        ({"echo_url": "https://[S3cr3t"}, "without a user"),
        ({"echo_url": ["https://S3cr3t"]}, "without a user"),
        ({"public_ip": "S3cr3t"}, "not an IPv4 address"),
    ],
)
def test_bad_input_is_refused_without_its_value(options, message):
    with pytest.raises(InvalidInputError, match=message) as refused:
        arguments(**options)
    assert "S3cr3t" not in str(refused.value)
