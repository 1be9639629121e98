"""Checks of EMR beyond the shape of a request."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.validate import ParamValidator

from local_emr.emr.refusals import refused_values
from local_emr.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_STEPS = 256
MAX_BOOTSTRAP_ACTIONS = 16
MAX_TAGS = 50
IDLE_TIMEOUT = range(60, 604_800 + 1)
_PRIMARY_COUNTS = {1, 3}


def invalid(message: str) -> AwsError:
    """Return a ValidationException."""
    return AwsError("ValidationException", message)


@cache
def service_model() -> Any:
    """Return botocore's own model of EMR."""
    return botocore.session.get_session().get_service_model("emr")


def check_shape(operation: str, params: dict[str, Any]) -> None:
    """Check parameters against botocore's model (names, types, required, lengths) and EMR's values.

    :raises AwsError: ``ValidationException``.
    """
    shape = service_model().operation_model(operation).input_shape
    report = ParamValidator().validate(params, shape)
    if report.has_errors():
        raise invalid(report.generate_report())
    if problems := list(refused_values(params, shape)):
        raise invalid("; ".join(problems))


def check_instances(instances: dict[str, Any]) -> None:
    """Check that a cluster has a primary node, given in exactly one way.

    :raises AwsError: ``ValidationException``.
    """
    ways = [name for name in ("InstanceGroups", "InstanceFleets") if instances.get(name)]
    if "MasterInstanceType" in instances or "InstanceCount" in instances:
        ways.append("MasterInstanceType and InstanceCount")
    if len(ways) != 1:
        raise invalid(f"Please configure instances using exactly one of instance groups or fleets; found: {ways}.")
    for name, role in (("InstanceGroups", "InstanceRole"), ("InstanceFleets", "InstanceFleetType")):
        roles = [pool[role] for pool in instances.get(name, [])]
        if roles and roles.count("MASTER") != 1:
            raise invalid("Exactly one master instance group or fleet is required.")
    primaries = [g["InstanceCount"] for g in instances.get("InstanceGroups", []) if g["InstanceRole"] == "MASTER"]
    if primaries and primaries[0] not in _PRIMARY_COUNTS:
        raise invalid("Master instance group must have exactly 1 or 3 instances.")
    if instances.get("Ec2SubnetIds", [])[1:] and not instances.get("InstanceFleets"):
        raise invalid("Multiple subnets are supported with instance fleets only.")


def check_tags(keys: Iterable[str], *, present: Iterable[str] = ()) -> None:
    """Check for reserved tag keys and the maximum number of tags (docs: EMR, "Tag restrictions").

    :param present: the keys of the cluster's existing tags, without AWS's own.
    :raises AwsError: ``ValidationException``.
    """
    keys = list(keys)
    own = {key for key in (*keys, *present) if not key.lower().startswith("aws:")}
    if len(own) > MAX_TAGS:
        raise invalid(f"The number of tags exceeds the limit: {len(own)} of {MAX_TAGS}.")
    for key in keys:
        if key.lower().startswith("aws:"):
            raise invalid(f"Tag keys must not start with 'aws:': {key!r}.")


def check_idle_timeout(seconds: int | None) -> None:
    """Check an auto-termination policy (docs: EMR API, AutoTerminationPolicy: one minute to seven days).

    :raises AwsError: ``ValidationException``.
    """
    if seconds is not None and seconds not in IDLE_TIMEOUT:
        raise invalid(f"IdleTimeout must be from 60 to 604800 seconds, and is {seconds}.")


def check_auto_termination(release: str | None, ami_version: str | None) -> None:
    """Check that the release supports auto-termination (docs: EMR, "Using an auto-termination policy").

    :raises AwsError: ``ValidationException``.
    """
    found = re.match(r"emr-(\d+)\.(\d+)", release or "")
    number = (int(found[1]), int(found[2])) if found else None
    if ami_version or (number and (number < (5, 30) or number == (6, 0))):
        named = release or f"AMI version {ami_version}"
        raise invalid(f"Auto-termination needs release 5.30.0 or later, or 6.1.0 or later; this is {named}.")


def check_step_count(count: int) -> None:
    """Check the maximum number of steps (docs: EMR API, AddJobFlowSteps: "A maximum of 256 steps").

    :raises AwsError: ``ValidationException``.
    """
    if count > MAX_STEPS:
        raise invalid(f"Maximum number of steps for job flow exceeded: {count} of {MAX_STEPS}.")


def check_bootstrap_action_count(count: int) -> None:
    """Check the maximum number of bootstrap actions (docs: EMR, "Create bootstrap actions": "up to 16").

    :raises AwsError: ``ValidationException``.
    """
    if count > MAX_BOOTSTRAP_ACTIONS:
        raise invalid(f"Maximum number of bootstrap actions for job flow exceeded: {count} of {MAX_BOOTSTRAP_ACTIONS}.")
