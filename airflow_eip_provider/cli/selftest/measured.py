"""Measurements of what AWS does not document, from the recorded answers, in whole seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.cli.scenario import iso
from airflow_eip_provider.cli.selftest.report import seconds_between

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.cli.selftest.recorder import Recorder, Shown
    from airflow_eip_provider.cli.selftest.report import Report


def measurements(report: Report) -> dict[str, Any]:
    """Return each measurement: its times, and a summary for people."""
    recorder = report.recorder
    return {
        "ec2_instance_id_after_launch": _measure_instance_id(recorder),
        "describe_addresses_after_associate": _measure_lag(recorder, "AssociateAddress"),
        "describe_addresses_after_disassociate": _measure_lag(recorder, "DisassociateAddress"),
        "address_after_terminate": _measure_drop(recorder, is_measured=report.plan.measure_drop),
    }


def _measure_instance_id(recorder: Recorder) -> dict[str, Any]:
    """Measure when ListInstances first shows the primary's Ec2InstanceId: between two calls, hence two numbers."""
    launched = recorder.first("RunJobFlow")
    shown = next((answer for answer in recorder.primary if answer.value), None)
    if launched is None or shown is None:
        return {"summary": "not seen"}
    without = [answer for answer in recorder.primary if answer.value is None and answer.at <= shown.at]
    last_absent = without[-1].at if without else None
    low, high = seconds_between(launched.at, last_absent or launched.at), seconds_between(launched.at, shown.at)
    return {
        "launched_at": iso(launched.at),
        "last_absent_at": _iso(last_absent),
        "first_shown_at": iso(shown.at),
        "seconds": [low, high],
        "summary": f"shown {low} to {high} s after RunJobFlow",
    }


def _measure_lag(recorder: Recorder, operation: str) -> dict[str, Any]:
    """Measure how long after a change DescribeAddresses still shows the state before it."""
    changed = recorder.first(operation)
    answers = [answer for answer in recorder.address if changed is not None and answer.at >= changed.at]
    if changed is None or not answers:
        return {"summary": f"no {operation}, nothing to measure"}
    is_association = operation == "AssociateAddress"
    # Times are in whole seconds: answers in the second of the change may be from before it.
    if is_association:
        until = recorder.first("DisassociateAddress") or recorder.first("TerminateJobFlows")
        answers = [answer for answer in answers if until is None or answer.at < until.at] or answers
        first_shown = next((number for number, answer in enumerate(answers) if answer.value), len(answers))
        answers = [a for number, a in enumerate(answers) if number >= first_shown or a.at > changed.at]
    else:
        before = [answer for answer in answers if answer.at == changed.at and answer.value]
        answers = answers[len(before) :] or answers
    stale = [answer for answer in answers if bool(answer.value) is not is_association]
    first_current = next((answer.at for answer in answers if bool(answer.value) is is_association), None)
    seconds = seconds_between(changed.at, stale[-1].at) if stale else 0
    return {
        "changed_at": iso(changed.at),
        "first_shown_at": _iso(first_current),
        "last_stale_at": iso(stale[-1].at) if stale else None,
        "reads": len(answers),
        "stale_reads": len(stale),
        "seconds": seconds,
        "summary": f"{len(stale)} of {len(answers)} reads were stale, the last {seconds} s after {operation}"
        if stale
        else f"none of {len(answers)} reads was stale",
    }


def _measure_drop(recorder: Recorder, *, is_measured: bool) -> dict[str, Any]:
    """Measure when EC2 removes the address from an instance that is terminated with it."""
    terminated = recorder.first("TerminateJobFlows")
    if not is_measured or terminated is None:
        return {"summary": "not measured: the teardown freed the address first; give --measure-drop"}
    answers = [answer for answer in recorder.address if answer.at >= terminated.at]
    removed_at = next((answer.at for answer in answers if answer.value is None), None)
    last_on = next((answer.at for answer in reversed(answers) if answer.value is not None), None)
    is_by_ec2 = removed_at is not None and recorder.first("DisassociateAddress") is None
    facts = {
        "terminate_at": iso(terminated.at),
        "instance_shutting_down_at": _iso(_first_at(recorder.instance, "shutting-down")),
        "instance_terminated_at": _iso(_first_at(recorder.instance, "terminated")),
        "last_address_on_at": _iso(last_on),
        "address_off_at": _iso(removed_at),
        "by": "EC2" if is_by_ec2 else "DisassociateAddress",
    }
    if removed_at is None or not is_by_ec2:
        return {**facts, "summary": "EC2 did not remove it while it was watched"}
    seconds = seconds_between(terminated.at, removed_at)
    return {**facts, "seconds": seconds, "summary": f"EC2 removed it {seconds} s after TerminateJobFlows"}


def _first_at(answers: Sequence[Shown], value: str) -> datetime | None:
    return next((answer.at for answer in answers if answer.value == value), None)


def _iso(at: datetime | None) -> str | None:
    return iso(at) if at else None


def cost(instances: Sequence[Mapping[str, Any]], cluster: Cluster | None) -> dict[str, Any]:
    """
    Return how long the cluster's instances ran, by EMR's timeline.

    :param instances: as ListInstances returns them.
    """
    timelines = [item["Status"].get("Timeline", {}) for item in instances]
    started = [timeline for timeline in timelines if timeline.get("CreationDateTime") is not None]
    seconds = sum(seconds_between(t["CreationDateTime"], t.get("EndDateTime") or clock.now()) for t in started)
    is_over = all(timeline.get("EndDateTime") is not None for timeline in started)
    types = sorted({str(item.get("InstanceType", "unknown type")) for item in instances})
    return {
        "instances": len(started),
        "instance_types": types,
        "instance_seconds": seconds,
        "is_over": is_over,
        "state": cluster.state if cluster else None,
        "summary": f"{seconds} instance seconds ({len(started)} x {', '.join(types) or 'none'})"
        + ("" if is_over else ", and EMR shows no end yet"),
    }
