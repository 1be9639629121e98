"""What the README promises, compared with what AWS's answers and the lock store showed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.aws.clusters import GUARD_MARK
from airflow_eip_provider.cli.selftest.report import iso, seconds_between
from airflow_eip_provider.lease.description import utc
from airflow_eip_provider.lease.record import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.aws.addresses import Address
    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.cli.selftest.report import Report
    from airflow_eip_provider.exceptions import StepFailedError
    from airflow_eip_provider.lease.record import Lease, Record


def after_preflight(report: Report, *, checks: int, errors: int) -> None:
    """Note what the checks before the launch found, and that they changed nothing."""
    changes = len(report.recorder.calls)
    report.add(
        "preflight",
        "the checks before a launch find no error, and change nothing",
        kept=not errors and not changes,
        evidence=f"{checks} checks, {errors} errors, {changes} calls that change AWS",
    )


def while_bound(
    report: Report,
    *,
    cluster_tags: Mapping[str, str],
    wanted_tags: Mapping[str, str],
    lease: Lease | None,
    token: int | None,
) -> None:
    """Check what holds while the cluster has the address."""
    job_flow_id = report.recorder.job_flow_id
    missing = [name for name, value in wanted_tags.items() if cluster_tags.get(name) != value]
    report.add(
        "tags",
        "a retry or the next owner finds the cluster by its tags",
        kept=not missing,
        evidence=f"missing: {', '.join(missing)}" if missing else ", ".join(sorted(wanted_tags)),
    )
    if token is None:
        report.add(
            "lease",
            "the lease is this cluster's, and active",
            kept=None,
            evidence="there is no lock store",
        )
        return
    is_ours = lease is not None and (lease.token, lease.resource_id) == (token, job_flow_id)
    report.add(
        "lease",
        "the lease is this cluster's, and active",
        kept=is_ours and lease is not None and lease.phase is Phase.ACTIVE,
        evidence=f"token {lease.token}, {lease.resource_id}, {lease.phase.name}" if lease else "no owner has the lease",
    )


def of_the_probe(report: Report, *, failed: StepFailedError | None, step_name: str | None) -> None:
    """Check where the cluster's connections leave from, and that the step was fenced."""
    report.add(
        "egress",
        "the cluster's connections leave from the Elastic IP",
        kept=failed is None,
        evidence=str(failed) if failed else f"the egress probe completed: {', '.join(_asked(report))}",
    )
    if step_name is not None:
        report.add(
            "fenced",
            "a step is submitted only while its own cluster has the address, and carries the mark of its task",
            kept=GUARD_MARK in step_name,
            evidence=f"step '{step_name}'",
        )


def _asked(report: Report) -> list[str]:
    probe = report.plan.probe
    return [*probe["servers"], *([probe["echo_url"]] if probe["echo_url"] else [])]


def after_the_end(
    report: Report,
    *,
    address: Address | None,
    cluster: Cluster | None,
    others: Sequence[Cluster],
    record: Record | None,
    owner: str,
) -> None:
    """Check the whole course, once the cluster was ended."""
    recorder = report.recorder
    _bound_early(report, cluster)
    sent = recorder.reassociation
    report.add(
        "never-steals",
        "AllowReassociation=False is on the wire of every AssociateAddress",
        kept=all(value == "false" for value in sent) if sent else None,
        evidence=f"sent {len(sent)} times: {', '.join(str(value) for value in sent)}" if sent else "none was sent",
    )
    report.add(
        "one-launch",
        "one cluster is launched, and no other of this run is there",
        kept=recorder.count("RunJobFlow") <= 1 and not others,
        evidence=f"RunJobFlow was accepted {recorder.count('RunJobFlow')} times; "
        f"live: {', '.join(other.job_flow_id for other in others) or 'none'}",
    )
    _freed_early(report, cluster)
    report.add(
        "ended",
        "the cluster has ended",
        kept=cluster is None or cluster.has_ended,
        evidence=f"{cluster.job_flow_id} is {cluster.state}" if cluster else "EMR does not know it any more",
    )
    made = next((shown.value for shown in recorder.address if shown.value), None)
    taken_by_next = address is not None and not address.is_free and address.association_id != made
    report.add(
        "free",
        "the address is free after the teardown",
        kept=address is not None and (address.is_free or taken_by_next),
        evidence="another owner has it by now"
        if taken_by_next
        else "it is free"
        if address and address.is_free
        else f"association {address.association_id}"
        if address
        else "there is no such address",
    )
    _history(report, record, owner)


def _bound_early(report: Report, cluster: Cluster | None) -> None:
    promise = "the address is on the primary node before the cluster is ready for steps"
    bound, ready = report.recorder.first("AssociateAddress"), cluster.ready_at if cluster else None
    if bound is None or ready is None:
        seen = "the address was not bound" if bound is None else "the cluster was never ready"
        report.add("binds-early", promise, kept=None, evidence=seen)
        return
    report.add(
        "binds-early",
        promise,
        kept=bound.at <= ready,
        evidence=f"bound {iso(bound.at)}, ready {iso(ready)}: {seconds_between(bound.at, ready)} s earlier",
    )


def _freed_early(report: Report, cluster: Cluster | None) -> None:
    promise = "the teardown frees the address before the cluster has ended"
    recorder = report.recorder
    freed, told = recorder.first("DisassociateAddress"), recorder.first("TerminateJobFlows")
    ended = next((shown.at for shown in recorder.cluster if shown.value and shown.value.startswith("TERMINATED")), None)
    if freed is None or told is None or ended is None:
        seen = "EC2 took the address off (--measure-drop)" if report.plan.measure_drop else "there was nothing to free"
        report.add("frees-early", promise, kept=None, evidence=seen)
        return
    report.add(
        "frees-early",
        promise,
        kept=freed.at <= ended,
        evidence=f"freed {seconds_between(told.at, freed.at)} s after TerminateJobFlows, ended "
        f"{seconds_between(told.at, ended)} s after it",
    )


def _history(report: Report, record: Record | None, owner: str) -> None:
    promise = "the lease has ended, and its history says so"
    if record is None:
        report.add("lease-history", promise, kept=None, evidence="there is no lock store")
        return
    job_flow_id = report.recorder.job_flow_id
    ended = next((entry for entry in reversed(record.history) if entry.resource_id == job_flow_id), None)
    is_over = record.lease is None or record.lease.resource_id != job_flow_id
    report.add(
        "lease-history",
        promise,
        kept=is_over and ended is not None and ended.owner == owner,
        evidence=f"token {ended.token}, {utc(ended.acquired_at)} to {utc(ended.ended_at)}: {ended.why}"
        if ended
        else f"no entry for {job_flow_id}",
    )
