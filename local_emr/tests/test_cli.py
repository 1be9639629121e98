"""The command, as a process of its own."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import boto3
import httpx
import psutil
import pytest

from local_emr.__main__ import main, parse
from local_emr.saved import BrokenSavedStateError, SavedState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CREDENTIALS = {"region_name": "eu-west-1", "aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def command(state: Path) -> Iterator[subprocess.Popen[str]]:
    options = ["--port", "0", "--time-scale", "600", "--state", str(state)]
    arguments = [sys.executable, "-m", "local_emr", *options]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        yield process
        process.kill()


@pytest.fixture(scope="module")
def url(command: subprocess.Popen[str]) -> str:
    """What the command says when it is ready."""
    found = re.search(r"http://127\.0\.0\.1:\d+", command.stdout.readline())
    assert found
    return found[0]


def test_it_prints_its_url_runs_in_scaled_time_and_ends_cleanly(command, url, state):
    health = httpx.get(f"{url}/_local/health", trust_env=False).json()
    assert health["clock"] == "ScaledClock"
    assert health["azure_sql"]["port"] > 0
    assert httpx.get(f"{url}/my-ip", trust_env=False).text.strip() == "198.51.100.7"
    assert httpx.post(f"{url}/_local/clock/advance", json={"seconds": 1}, trust_env=False).status_code == 409

    emr = boto3.client("emr", endpoint_url=url, **CREDENTIALS)
    instances = {"InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True}
    sleep = {"Name": "sleep", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["sleep", "600"]}}
    job_flow_id = emr.run_job_flow(Name="x", Instances=instances, Steps=[sleep])["JobFlowId"]
    emr.get_waiter("cluster_running").wait(ClusterId=job_flow_id, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    emr.close()
    children = psutil.Process(command.pid).children(recursive=True)

    command.send_signal(signal.SIGTERM)
    assert command.wait(timeout=60) == 0
    assert psutil.wait_procs(children, timeout=10)[1] == []
    events = [json.loads(line) for line in (state / "events.jsonl").read_text().splitlines()]
    assert {"call", "cluster", "instance", "step", "connection"} <= {event["kind"] for event in events}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--time-scale", "0"],
        ["--time-scale", "nan"],
        ["--time-scale", "inf"],
        ["--azure-sql-upstream", "nowhere"],
        ["--azure-sql-upstream", "db:99999"],
        ["--port", "x"],
        ["--port", "99999"],
        ["--port", "-1"],
        ["--azure-sql-port", "65536"],
    ],
)
def test_options_that_make_no_sense_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert arguments[0] in capsys.readouterr().err


def test_it_binds_to_localhost_by_default():
    assert parse([]).host == "127.0.0.1"
    assert parse([]).port == 5055


@pytest.mark.parametrize(
    ("option", "said"),
    [("--region", "'nowhere' is no AWS region"), ("--host", "nowhere"), ("--port", "name another port"),
     ("--azure-sql-port", "name another port"), ("--state", "saved.zip': it is broken (BadZipFile")],
)  # fmt: skip
def test_what_cannot_work_ends_with_one_line(tmp_path, option, said):
    (tmp_path / "saved.zip").write_bytes(b"PK cut")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        value = {"--state": str(tmp_path), "--port": port, "--azure-sql-port": port}.get(option, "nowhere")
        with pytest.raises(SystemExit) as ended:
            main(["--port", "0", option, value])
    assert "\n" not in str(ended.value)
    assert str(ended.value).startswith("local EMR: ")
    assert said in str(ended.value)


@pytest.mark.parametrize(
    ("saved", "reason"),
    [
        (b"", "BadZipFile"),
        ({"saved.json": "{"}, "JSONDecodeError"),
        ({"other": ""}, "KeyError"),
        ({"saved.json": "{}"}, "KeyError"),
        ({"saved.json": '{"time": "yesterday"}'}, "ValueError"),
        ({"saved.json": "[]"}, "TypeError"),
    ],
)
def test_a_saved_state_that_is_broken_is_named(tmp_path, saved, reason):
    path = tmp_path / "saved.zip"
    if isinstance(saved, bytes):
        path.write_bytes(saved)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in saved.items():
                archive.writestr(name, text)
    with pytest.raises(BrokenSavedStateError, match=rf"{re.escape(str(path))}': it is broken \({reason}"):
        SavedState(path)


def test_a_saved_state_that_lacks_something_is_named(tmp_path, local_emr_server):
    path = tmp_path / "saved.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("saved.json", '{"time": "2026-01-01T00:00:00+00:00", "s3": []}')
    with pytest.raises(BrokenSavedStateError, match="KeyError: 'dynamodb'"):
        SavedState(path).restore(region="eu-west-1", put_own=lambda own: None)
