from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from local_emr import LocalAws

from contextlib import contextmanager

_send_over_http = URLLib3Session.send


@pytest.fixture(autouse=True)
def over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call the local EMR as its users do; the provider's tests, in the same process, may call it without a socket."""
    monkeypatch.setattr(URLLib3Session, "send", _send_over_http)


@contextmanager
def _refused(code: str) -> Iterator[Any]:
    with pytest.raises(ClientError) as caught:
        yield caught
    assert caught.value.response["Error"]["Code"] == code


@pytest.fixture
def refused() -> Callable[[str], AbstractContextManager[Any]]:
    """Expect AWS to refuse with this error code."""
    return _refused


@pytest.fixture
def subnet_id(ec2: Any) -> str:
    return str(ec2.describe_subnets()["Subnets"][0]["SubnetId"])


@pytest.fixture
def allocation_id(ec2: Any) -> str:
    return str(ec2.allocate_address(Domain="vpc")["AllocationId"])


@pytest.fixture
def launch(ec2: Any, subnet_id: str) -> Callable[[], tuple[str, str]]:
    """Run an instance; return its id and its interface's."""

    def run(**options: Any) -> tuple[str, str]:
        given = {"ImageId": "ami-0123456789abcdef0", "MinCount": 1, "MaxCount": 1, "SubnetId": subnet_id, **options}
        instance = ec2.run_instances(**given)["Instances"][0]
        return instance["InstanceId"], instance["NetworkInterfaces"][0]["NetworkInterfaceId"]

    return run


@pytest.fixture
def start_cluster(emr: Any, subnet_id: str) -> Callable[..., str]:
    """Run a job flow of one primary node; its id."""

    def run(*, instances: dict[str, Any] | None = None, **options: Any) -> str:
        wanted = {
            "InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}],
            "KeepJobFlowAliveWhenNoSteps": True,
            "Ec2SubnetId": subnet_id,
            **(instances or {}),
        }
        wanted = {name: value for name, value in wanted.items() if value is not None}
        return str(emr.run_job_flow(**{"Name": "daily", "Instances": wanted, **options})["JobFlowId"])

    return run


@pytest.fixture
def state_of(emr: Any) -> Callable[[str], str]:
    return lambda job_flow_id: emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Status"]["State"]


@pytest.fixture
def primary_of(local_emr: LocalAws) -> Callable[[str], Any]:
    """The EC2 instance of a cluster's primary node, as the local EMR holds it."""
    return lambda job_flow_id: local_emr.cluster(job_flow_id).primary


def _step(*args: str, name: str = "read", on_failure: str = "CONTINUE") -> dict[str, Any]:
    return {
        "Name": name,
        "ActionOnFailure": on_failure,
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": list(args)},
    }


@pytest.fixture
def step() -> Callable[..., dict[str, Any]]:
    return _step


@pytest.fixture
def add_steps(emr: Any) -> Callable[..., list[str]]:
    def add(job_flow_id: str, *steps: dict[str, Any], **options: Any) -> list[str]:
        answer = emr.add_job_flow_steps(JobFlowId=job_flow_id, Steps=list(steps), **options)
        return list(answer["StepIds"])

    return add


@pytest.fixture
def step_states(emr: Any) -> Callable[[str], list[str]]:
    """The states of a cluster's steps, oldest first."""

    def states(job_flow_id: str) -> list[str]:
        steps = emr.list_steps(ClusterId=job_flow_id)["Steps"]
        return [found["Status"]["State"] for found in reversed(steps)]

    return states
