"""The example of docs/operations.md works as it stands there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "operations.md"


@pytest.fixture
def example():
    """What the page's Python code defines."""
    pytest.importorskip("airflow.sdk")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    # Only what differs from place to place is filled in: the steps.
    names = {}
    step = {"Name": "read", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["true"]}}
    exec(compile(code.replace("steps([])", f"steps([{step!r}])"), str(PAGE), "exec"), names)
    return names


def test_every_task_of_the_example_tells_sns_of_its_failure(local_aws, boto, example):
    topic = boto("sns").create_topic(Name="data-on-call")["TopicArn"]
    assert topic == example["tell_us"].target_arn
    dag = example["cluster"].dag
    for task in dag.tasks:
        callbacks = task.on_failure_callback
        assert example["tell_us"] in (callbacks if isinstance(callbacks, list) else [callbacks]), task.task_id

    example["tell_us"](
        {
            "dag": dag,
            "ti": SimpleNamespace(task_id="azure.create", try_number=3),
            "run_id": "daily",
            "exception": "it is on cluster 'j-1'",
        }
    )
    (sent,) = local_aws.events.calls("Publish")
    assert sent["status"] == 200
    assert sent["request"]["Subject"] == "sales_daily failed"
    assert json.loads(sent["request"]["Message"]) == {"default": "azure.create of daily, try 3: it is on cluster 'j-1'"}
