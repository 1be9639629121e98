"""Requests for EMR that tests, benchmarks and their DAGs share: a cluster of one node, and a step that sleeps."""

from __future__ import annotations

from typing import Any


def one_node(name: str, *, subnet_id: str | None = None, **more: Any) -> dict[str, Any]:
    """Return the parameters of RunJobFlow for a long-running cluster with a primary node only."""
    instances: dict[str, Any] = {
        "InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}],
        "KeepJobFlowAliveWhenNoSteps": True,
    }
    if subnet_id is not None:
        instances["Ec2SubnetId"] = subnet_id
    return {
        "Name": name,
        "ReleaseLabel": "emr-7.5.0",
        "JobFlowRole": "EMR_EC2_DefaultRole",
        "ServiceRole": "EMR_DefaultRole",
        "Instances": instances,
        **more,
    }


def sleeping_step(seconds: int | str, *, name: str = "read") -> dict[str, Any]:
    """Return a step that runs for a number of simulated seconds on the local EMR."""
    jar = {"Jar": "command-runner.jar", "Args": ["--sleep", str(seconds)]}
    return {"Name": name, "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}
