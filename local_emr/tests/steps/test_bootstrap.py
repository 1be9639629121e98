"""Bootstrap actions as real processes: on every node, in order, and what they find there."""

from __future__ import annotations

import gzip
import json
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from local_emr.emr.steps import TIMED_OUT, BootstrapActionSpec
from local_emr.steps.processes import processes_of
from local_emr.steps.runner import _started
from stage import LOGS, run, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local_emr import LocalAws
    from local_emr.steps import ProcessStepRunner

THREE_NODES = {
    "InstanceGroups": [
        {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1},
        {"InstanceRole": "CORE", "InstanceType": "m5.large", "InstanceCount": 2},
    ]
}
JOBS = Path(__file__).parents[3] / "dags/jobs"
ONE_NODE: dict[str, Any] = {}
SECONDS_TO_BOOTSTRAPPING, SECONDS_TO_READY = 120, 90


class Stage:
    """Clusters of three nodes whose bootstrap actions are real processes."""

    def __init__(self, aws: LocalAws, s3: Any, start_cluster: Callable[..., str]) -> None:
        self.aws = aws
        self.s3 = s3
        self._start_cluster = start_cluster

    def start(self, *scripts: str | None, instances: dict[str, Any] = THREE_NODES, **options: Any) -> str:
        """Launch a cluster with a bootstrap action for each script; ``None`` is one that is not there."""
        actions = []
        for number, script in enumerate(scripts, 1):
            key = f"actions/{number}.sh"
            if script is not None:
                self.s3.put_object(Bucket="data", Key=key, Body=f"#!/bin/bash\nset -eu\n{script}\n".encode())
            script_action = {"Path": f"s3://data/{key}", "Args": [f"argument {number}"]}
            actions.append({"Name": f"action {number}", "ScriptBootstrapAction": script_action})
        job_flow_id = self._start_cluster(instances=instances, BootstrapActions=actions, LogUri=LOGS, **options)
        self.aws.clock.advance(SECONDS_TO_BOOTSTRAPPING)
        return job_flow_id

    def tell(self, name: str, text: str = "") -> None:
        """Write a file that actions find as ``$LOCAL_AWS_STEP_DIR/../../../NAME``, whether one has begun or not."""
        runner: Any = self.aws.step_runner
        path = runner.state_dir / "node" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def instance_ids(self, job_flow_id: str) -> list[str]:
        """The nodes' EC2 ids, the primary's first."""
        return [node.instance.id for node in self.aws.cluster(job_flow_id).nodes()]

    def ended(self, state: str = "COMPLETED") -> list[dict[str, Any]]:
        return [event for event in self.aws.events.read(kind="bootstrap_action") if event["state"] == state]

    def log(self, job_flow_id: str, instance_id: str, name: str, *, number: int = 1) -> str:
        key = f"emr/{job_flow_id}/node/{instance_id}/bootstrap-actions/{number}/{name}.gz"
        return gzip.decompress(self.s3.get_object(Bucket="logs", Key=key)["Body"].read()).decode()

    def reason(self, job_flow_id: str) -> tuple[str | None, str | None]:
        """Wait for the cluster's end."""
        wait_until(lambda: self.aws.cluster(job_flow_id).state == "TERMINATING")
        self.aws.clock.advance(60)
        cluster = self.aws.cluster(job_flow_id)
        assert cluster.state == "TERMINATED_WITH_ERRORS"
        return cluster.reason.code, cluster.reason.message


@pytest.fixture
def stage(local_emr: LocalAws, runner: ProcessStepRunner, s3: Any, start_cluster: Any) -> Iterator[Stage]:
    # Undone before the AWS is made as good as new, which gives the next test the runner that it has then.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_emr, "step_runner", runner)
        patch.setattr(local_emr.emr.life.queue, "_runner", runner)
        patch.setattr(local_emr.emr.life._actions, "_runner", runner)
        yield Stage(local_emr, s3, start_cluster)
        runner.close()


def test_every_action_runs_once_on_every_node_in_order_and_the_cluster_waits_for_all(
    stage: Stage, state_of: Callable[[str], str]
) -> None:
    job_flow_id = stage.start('echo "$1"; sleep 0.5', 'echo "$1"')
    stage.aws.clock.advance(SECONDS_TO_READY)
    assert state_of(job_flow_id) == "BOOTSTRAPPING"

    wait_until(lambda: state_of(job_flow_id) != "BOOTSTRAPPING")

    assert state_of(job_flow_id) == "WAITING"
    nodes = stage.instance_ids(job_flow_id)
    told = [(event["instance_id"], event["number"]) for event in stage.ended()]
    assert sorted(told) == sorted((node, number) for node in nodes for number in (1, 2))
    for node in nodes:
        events = [e for e in stage.aws.events.read(kind="bootstrap_action") if e["instance_id"] == node]
        assert [(e["number"], e["state"]) for e in events] == [
            (1, "RUNNING"), (1, "COMPLETED"), (2, "RUNNING"), (2, "COMPLETED")
        ]  # fmt: skip
        assert [stage.log(job_flow_id, node, "stdout", number=n) for n in (1, 2)] == ["argument 1\n", "argument 2\n"]
        assert "startExec" in stage.log(job_flow_id, node, "controller")
    assert stage.ended()[0]["name"] == "action 1"


def test_actions_that_are_quick_take_no_time_beyond_the_simulated(stage: Stage, state_of: Callable[[str], str]) -> None:
    job_flow_id = stage.start("true")
    wait_until(lambda: len(stage.ended()) == 3)
    assert state_of(job_flow_id) == "BOOTSTRAPPING"
    stage.aws.clock.advance(SECONDS_TO_READY - 1)
    assert state_of(job_flow_id) == "BOOTSTRAPPING"
    stage.aws.clock.advance(1)
    assert state_of(job_flow_id) == "WAITING"


def test_each_node_has_its_identity_and_one_is_the_primary(stage: Stage) -> None:
    """``instance.json`` and ``job-flow.json`` [docs: EMR, "Create bootstrap actions": instance-specific values]."""
    job_flow_id = stage.start('cat "$EMR_NODE_INFO/instance.json"', 'cat "$EMR_NODE_INFO/job-flow.json"')
    wait_until(lambda: len(stage.ended()) == 6)

    primary, *workers = nodes = stage.instance_ids(job_flow_id)
    infos = {node: json.loads(stage.log(job_flow_id, node, "stdout")) for node in nodes}
    assert {node for node, info in infos.items() if info["isMaster"]} == {primary}
    assert infos[primary]["isRunningNameNode"] is True
    assert infos[workers[0]]["isRunningDataNode"] is True
    assert (
        infos[workers[0]]["instanceGroupId"]
        == infos[workers[1]]["instanceGroupId"]
        != infos[primary]["instanceGroupId"]
    )
    cluster = json.loads(stage.log(job_flow_id, workers[1], "stdout", number=2))
    assert (cluster["jobFlowId"], cluster["masterInstanceId"]) == (job_flow_id, primary)
    assert (cluster["instanceCount"], cluster["slaveInstanceType"]) == (3, "m5.large")


def test_each_node_leaves_from_its_own_address_the_primary_from_its_elastic_ip(stage: Stage, ec2: Any) -> None:
    job_flow_id = stage.start('until [ -e "$LOCAL_AWS_STEP_DIR/../../../go" ]; do sleep 0.1; done',
                              'exec curl -sS "$AWS_ENDPOINT_URL/my-ip"')  # fmt: skip
    cluster = stage.aws.cluster(job_flow_id)
    made = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(AllocationId=made["AllocationId"], NetworkInterfaceId=cluster.primary.nics[0].id)
    stage.tell("go")
    wait_until(lambda: len(stage.ended()) == 6)

    seen = {node: stage.log(job_flow_id, node, "stdout", number=2).strip() for node in stage.instance_ids(job_flow_id)}

    assert seen == {node.instance.id: node.instance.nics[0].public_ip for node in cluster.nodes()}
    assert seen[cluster.primary.id] == made["PublicIp"]
    asked = stage.aws.events.read(kind="connection")
    assert {(event["instance_id"], event["from_ip"]) for event in asked} == set(seen.items())
    assert {(event["job_flow_id"], event["step_id"]) for event in asked} == {(job_flow_id, None)}


ASK = """
ask() {
    token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$SERVICE/latest/api/token")
    curl -sf -H "X-aws-ec2-metadata-token: $token" "$SERVICE/latest/meta-data/$1"
}
SERVICE=${AWS_EC2_METADATA_SERVICE_ENDPOINT%/}
"""


def test_an_action_that_fails_on_one_core_node_ends_the_cluster(stage: Stage, emr: Any) -> None:
    failing = (
        f'{ASK}id=$(ask instance-id); echo "I am $id" >&2; [ "$id" != "$(cat "$LOCAL_AWS_STEP_DIR/../../../bad")" ]'
    )
    job_flow_id = stage.start("sleep 1", failing)
    bad = stage.instance_ids(job_flow_id)[2]
    stage.tell("bad", bad)

    code, message = stage.reason(job_flow_id)

    assert code == "BOOTSTRAP_FAILURE"
    assert message == f"On 1 slave instance (including {bad}), bootstrap action 2 returned a non-zero return code"
    assert stage.log(job_flow_id, bad, "stderr", number=2) == f"I am {bad}\n"
    [failed] = stage.ended("FAILED")
    assert (failed["instance_id"], failed["number"], failed["exit_code"]) == (bad, 2, 1)
    status = emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Status"]
    assert status["StateChangeReason"] == {"Code": code, "Message": message}


def test_the_reason_names_the_workers_that_failed(stage: Stage) -> None:
    job_flow_id = stage.start('grep -q \'"isMaster": true\' "$EMR_NODE_INFO/instance.json"')
    _, first, second = stage.instance_ids(job_flow_id)
    assert stage.reason(job_flow_id)[1] == (
        f"On 2 slave instances (including {first} and {second}), bootstrap action 1 returned a non-zero return code"
    )


def test_a_failure_on_the_primary_ends_the_cluster_and_everything_on_the_other_nodes(stage: Stage) -> None:
    script = 'grep -q \'"isMaster": true\' "$EMR_NODE_INFO/instance.json" && exit 3; sleep 600'
    job_flow_id = stage.start(script)
    primary = stage.instance_ids(job_flow_id)[0]
    message = f"On the master instance ({primary}), bootstrap action 1 returned a non-zero return code"
    assert stage.reason(job_flow_id) == ("BOOTSTRAP_FAILURE", message)
    wait_until(lambda: len(stage.ended("CANCELLED")) == 2)


def test_a_script_that_is_not_there_ends_the_cluster(stage: Stage) -> None:
    job_flow_id = stage.start(None, instances=ONE_NODE)
    [primary] = stage.instance_ids(job_flow_id)
    code, message = stage.reason(job_flow_id)
    assert code == "BOOTSTRAP_FAILURE"
    assert message == f"Master instance ({primary}) failed attempting to download bootstrap action 1 file from S3"
    assert "s3://data/actions/1.sh" in stage.log(job_flow_id, primary, "stderr")


def test_an_action_that_takes_too_long_is_ended(runner: ProcessStepRunner, s3: Any) -> None:
    s3.put_object(Bucket="data", Key="slow.sh", Body=b"#!/bin/sh\necho began\nsleep 600\n")
    action = BootstrapActionSpec(
        job_flow_id="j-1", instance_id="i-1", region="eu-west-1", number=1, name="slow", args=("s3://data/slow.sh",),
        time_limit_seconds=1,
    )  # fmt: skip

    result = run(runner, action)

    assert (result.succeeded, result.reason) == (False, TIMED_OUT)
    assert not processes_of(runner.mark(action.id))


def test_the_cluster_ends_an_action_that_takes_too_long(
    local_emr: LocalAws, monkeypatch: pytest.MonkeyPatch, start_cluster: Any, primary_of: Any
) -> None:
    monkeypatch.setattr(local_emr.emr.life._actions, "_time_limit_seconds", 1000)
    script = {"Path": "s3://data/slow.sh", "Args": ["--sleep", "1001"]}
    job_flow_id = start_cluster(BootstrapActions=[{"Name": "slow", "ScriptBootstrapAction": script}])
    local_emr.clock.advance(SECONDS_TO_BOOTSTRAPPING + 999)
    assert local_emr.cluster(job_flow_id).state == "BOOTSTRAPPING"
    local_emr.clock.advance(1)
    assert local_emr.cluster(job_flow_id).reason.message == (
        f"On the master instance ({primary_of(job_flow_id).id}), bootstrap action 1 timed out executing"
    )


def test_actions_end_with_their_cluster_and_leave_nothing(stage: Stage, emr: Any) -> None:
    job_flow_id = stage.start("setsid sleep 600 & sleep 600")
    runner: Any = stage.aws.step_runner
    wait_until(lambda: len(runner.processes) == 3)
    marks = [runner.mark(work.id) for work in runner.processes.values()]
    wait_until(lambda: all(len(processes_of(mark)) >= 3 for mark in marks))
    roots = [psutil.Process(pid) for pid in runner.processes]

    emr.terminate_job_flows(JobFlowIds=[job_flow_id])

    wait_until(lambda: len(stage.ended("CANCELLED")) == 3)
    assert not any(processes_of(mark) for mark in marks)
    assert not any(root.is_running() for root in roots)
    stage.aws.clock.advance(60)
    assert stage.aws.cluster(job_flow_id).reason.code == "USER_REQUEST"


def test_an_instance_that_replaces_the_primary_runs_them_too(
    stage: Stage, state_of: Callable[[str], str], primary_of: Callable[[str], Any]
) -> None:
    job_flow_id = stage.start("true", instances=ONE_NODE)
    wait_until(lambda: len(stage.ended()) == 1)
    stage.aws.clock.advance(SECONDS_TO_READY)
    stage.aws.replace_primary(job_flow_id)
    stage.aws.clock.advance(60)
    wait_until(lambda: len(stage.ended()) == 2)
    assert stage.ended()[1]["instance_id"] == primary_of(job_flow_id).id
    assert state_of(job_flow_id) == "WAITING"


@pytest.mark.skipif(find_spec("awscli") is None, reason="the extra import is not installed")
def test_sudo_changes_no_user_and_aws_is_there(stage: Stage) -> None:
    sudo = "sudo -H -u root GREETING=hello sh -c 'echo \"$GREETING $(id -u)\"'"
    job_flow_id = stage.start(sudo, "aws s3 cp --quiet s3://data/actions/1.sh copy && cat copy", instances=ONE_NODE)
    wait_until(lambda: len(stage.ended()) == 2)
    [primary] = stage.instance_ids(job_flow_id)
    assert stage.log(job_flow_id, primary, "stdout") == f"hello {psutil.Process().uids().effective}\n"
    assert "sudo -H" in stage.log(job_flow_id, primary, "stdout", number=2)


def test_the_example_dags_own_action_works_here_and_installs_nothing(
    stage: Stage, state_of: Callable[[str], str]
) -> None:
    script = (JOBS / "install_python_packages.sh").read_text()
    job_flow_id = stage.start(f"sudo() {{ exit 1; }}\n{script}", instances=ONE_NODE)
    wait_until(lambda: bool(stage.ended("COMPLETED") + stage.ended("FAILED")))
    stage.aws.clock.advance(SECONDS_TO_READY)
    assert state_of(job_flow_id) == "WAITING"


def test_a_script_that_a_forked_process_still_has_open_is_started_a_moment_later(tmp_path: Path) -> None:
    script = tmp_path / "script"
    with script.open("w", encoding="utf-8") as writing:
        script.chmod(0o755)
        writing.write("#!/bin/bash\nexit 7\n")
        writing.flush()
        threading.Timer(0.3, writing.close).start()
        assert _started([str(script)]).wait() == 7
