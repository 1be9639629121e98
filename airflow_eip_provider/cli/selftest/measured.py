"""What AWS does not document: measured from the recorded answers, in whole seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.cli.selftest.report import iso, seconds_between

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.cli.selftest.recorder import Recorder, Shown
    from airflow_eip_provider.cli.selftest.report import Report


def measurements(report: Report) -> dict[str, Any]:
    """Return each measurement: its times, and a summary for people."""
    recorder = report.recorder
    return {
        "ec2_instance_id_after_launch": _instance_id(recorder),
        "describe_addresses_after_associate": _lag(recorder, "AssociateAddress"),
        "describe_addresses_after_disassociate": _lag(recorder, "DisassociateAddress"),
        "address_after_terminate": _drop(recorder, is_left=report.plan.measure_drop),
    }


def _instance_id(recorder: Recorder) -> dict[str, Any]:
    """When ListInstances first shows the primary's Ec2InstanceId: after the last look without, by the first with."""
    launched = recorder.first("RunJobFlow")
    shown = next((look for look in recorder.primary if look.value), None)
    if launched is None or shown is None:
        return {"summary": "not seen"}
    without = [look for look in recorder.primary if look.value is None and look.at <= shown.at]
    after = without[-1].at if without else launched.at
    low, high = seconds_between(launched.at, after), seconds_between(launched.at, shown.at)
    return {
        "launched_at": iso(launched.at),
        "last_absent_at": iso(without[-1].at) if without else None,
        "first_shown_at": iso(shown.at),
        "seconds": [low, high],
        "summary": f"shown {low} to {high} s after RunJobFlow",
    }


def _lag(recorder: Recorder, operation: str) -> dict[str, Any]:
    """How long after a change DescribeAddresses still showed the state before it."""
    changed = recorder.first(operation)
    looks = [look for look in recorder.address if changed is not None and look.at >= changed.at]
    if changed is None or not looks:
        return {"summary": f"no {operation}, nothing to measure"}
    expects = operation == "AssociateAddress"
    if not expects:
        # The looks of a second in which the address was still there may have been made before the change.
        before = [look for look in looks if look.at == changed.at and look.value]
        looks = looks[len(before) :] or looks
    else:
        until = recorder.first("DisassociateAddress") or recorder.first("TerminateJobFlows")
        looks = [look for look in looks if until is None or look.at < until.at] or looks
        first_shown = next((number for number, look in enumerate(looks) if look.value), len(looks))
        looks = [look for number, look in enumerate(looks) if number >= first_shown or look.at > changed.at]
    stale = [look for look in looks if bool(look.value) is not expects]
    shown = next((look for look in looks if bool(look.value) is expects), None)
    seconds = seconds_between(changed.at, stale[-1].at) if stale else 0
    return {
        "changed_at": iso(changed.at),
        "first_shown_at": iso(shown.at) if shown else None,
        "last_stale_at": iso(stale[-1].at) if stale else None,
        "reads": len(looks),
        "stale_reads": len(stale),
        "seconds": seconds,
        "summary": f"{len(stale)} of {len(looks)} reads were stale, the last {seconds} s after {operation}"
        if stale
        else f"none of {len(looks)} reads was stale",
    }


def _drop(recorder: Recorder, *, is_left: bool) -> dict[str, Any]:
    """When EC2 took the address off an instance that was terminated with it."""
    told = recorder.first("TerminateJobFlows")
    if not is_left or told is None:
        return {"summary": "not measured: the teardown freed the address first; give --measure-drop"}
    freed = recorder.first("DisassociateAddress")
    looks = [look for look in recorder.address if look.at >= told.at]
    off = next((look for look in looks if look.value is None), None)
    states = {state: _first(recorder.instance, state) for state in ("shutting-down", "terminated")}
    last_on = next((look for look in reversed(looks) if look.value is not None), None)
    by_ec2 = off is not None and freed is None
    facts = {
        "terminate_at": iso(told.at),
        **{f"instance_{name.replace('-', '_')}_at": iso(at) if at else None for name, at in states.items()},
        "last_address_on_at": iso(last_on.at) if last_on is not None else None,
        "address_off_at": iso(off.at) if off is not None else None,
        "by": "EC2" if by_ec2 else "DisassociateAddress",
    }
    if off is None or not by_ec2:
        return {**facts, "summary": "EC2 did not take it off while it was watched"}
    seconds = seconds_between(told.at, off.at)
    return {**facts, "seconds": seconds, "summary": f"EC2 took it off {seconds} s after TerminateJobFlows"}


def _first(looks: Iterable[Shown], value: str) -> datetime | None:
    return next((look.at for look in looks if look.value == value), None)


def cost(instances: Sequence[Mapping[str, Any]], cluster: Cluster | None) -> dict[str, Any]:
    """
    Return how long the cluster's instances ran, by EMR's own timeline.

    :param instances: as ListInstances returns them.
    """
    spans = []
    for item in instances:
        timeline = item["Status"].get("Timeline", {})
        began, ended = timeline.get("CreationDateTime"), timeline.get("EndDateTime")
        if began is not None:
            spans.append((began, ended or clock.now(), ended is not None))
    seconds = sum(seconds_between(began, ended) for began, ended, _ in spans)
    is_over = all(over for *_, over in spans)
    types = sorted({str(item.get("InstanceType", "unknown type")) for item in instances})
    return {
        "instances": len(spans),
        "instance_types": types,
        "instance_seconds": seconds,
        "is_over": is_over,
        "state": cluster.state if cluster else None,
        "summary": f"{seconds} instance seconds ({len(spans)} x {', '.join(types) or 'none'})"
        + ("" if is_over else ", and EMR shows no end yet"),
    }
