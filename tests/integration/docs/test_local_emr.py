"""The example of local_emr/README.md for Airflow's stock operators runs as it stands there, on a server of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from harness.life import TaskInstance

if TYPE_CHECKING:
    from collections.abc import Iterator

README = Path(__file__).resolve().parents[3] / "local_emr" / "README.md"
URL = "http://127.0.0.1:5055"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    arguments = [sys.executable, "-m", "local_emr", "--port", "0", "--time-scale", "600"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        url = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
        for line in example("bash").splitlines():
            for name, quoted, plain in re.findall(r"(\w+)=(?:'([^']*)'|(\S+))", line.removeprefix("export ")):
                monkeypatch.setenv(name, (quoted or plain).replace(URL, url))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        yield
        process.terminate()


def example(language: str) -> str:
    (part,) = re.findall(r"^## Airflow's stock.*?^## ", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (code,) = re.findall(rf"```{language}\n(.*?)```", part, re.DOTALL)
    return code


def test_stock_operators_live_through(environment):
    pytest.importorskip("airflow.sdk")
    names: dict[str, Any] = {}
    exec(compile(example("python"), str(README), "exec"), names)
    assert names["terminate"].task_id in names["step"].downstream_task_ids

    def execute(name: str, **rendered: Any) -> Any:
        operator = names[name]
        for field, value in rendered.items():
            setattr(operator, field, value)
        ti = TaskInstance(task_id=name)
        return operator.execute({"ti": ti, "task_instance": ti, "task": operator})

    cluster = execute("create")
    [step] = execute("step", job_flow_id=cluster)
    emr = boto3.client("emr")
    assert emr.describe_step(ClusterId=cluster, StepId=step)["Step"]["Status"]["State"] == "COMPLETED"
    execute("terminate", job_flow_id=cluster)
    assert emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"].startswith("TERMINAT")
    emr.close()
