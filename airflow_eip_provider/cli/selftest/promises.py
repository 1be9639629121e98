"""The promises of the README, compared with what AWS's answers and the lock store showed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.aws.clusters import GUARD_MARK
from airflow_eip_provider.cli.scenario import iso
from airflow_eip_provider.cli.selftest.report import seconds_between
from airflow_eip_provider.lease.description import utc
from airflow_eip_provider.lease.record import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.aws.addresses import Address
    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.cli.selftest.report import Report
    from airflow_eip_provider.exceptions import StepFailedError
    from airflow_eip_provider.lease.record import Lease, Record


def check_preflight(report: Report, *, checks: int, errors: int) -> None:
    """Check that the preflight checks found no error and changed nothing."""
    changes = len(report.recorder.calls)
    report.add(
        "preflight",
        "the checks before a launch find no error, and change nothing",
        kept=not errors and not changes,
        evidence=f"{checks} checks, {errors} errors, {changes} calls that change AWS",
    )


def check_bound_cluster(
    report: Report,
    *,
    cluster_tags: Mapping[str, str],
    wanted_tags: Mapping[str, str],
    lease: Lease | None,
    token: int | None,
) -> None:
    """Check the tags and the lease while the cluster has the address."""
    missing = [name for name, value in wanted_tags.items() if cluster_tags.get(name) != value]
    report.add(
        "tags",
        "a retry or the next owner finds the cluster by its tags",
        kept=not missing,
        evidence=f"missing: {', '.join(missing)}" if missing else ", ".join(sorted(wanted_tags)),
    )
    kept: bool | None
    if token is None:
        kept, evidence = None, "there is no lock store"
    elif lease is None:
        kept, evidence = False, "no owner has the lease"
    else:
        wanted = (token, report.recorder.job_flow_id, Phase.ACTIVE)
        kept = (lease.token, lease.resource_id, lease.phase) == wanted
        evidence = f"token {lease.token}, {lease.resource_id}, {lease.phase.name}"
    report.add("lease", "the lease belongs to this cluster, and is active", kept=kept, evidence=evidence)


def check_probe(report: Report, *, failed: StepFailedError | None, step_name: str | None) -> None:
    """Check the source address of the cluster's connections, and that the step was fenced."""
    report.add(
        "egress",
        "the cluster's connections leave from the Elastic IP",
        kept=failed is None,
        evidence=str(failed) if failed else f"the egress probe completed: {', '.join(report.plan.probe_targets)}",
    )
    if step_name is not None:
        report.add(
            "fenced",
            "a step is submitted only while its own cluster has the address, and has the mark of its task",
            kept=GUARD_MARK in step_name,
            evidence=f"step '{step_name}'",
        )


def check_end(
    report: Report,
    *,
    address: Address | None,
    cluster: Cluster | None,
    others: Sequence[Cluster],
    record: Record | None,
    owner: str,
) -> None:
    """Check the whole run after the cluster was terminated."""
    recorder = report.recorder
    _check_early_binding(report, cluster)
    sent = recorder.reassociation
    report.add(
        "never-steals",
        "every AssociateAddress is sent with AllowReassociation=False",
        kept=all(value == "false" for value in sent) if sent else None,
        evidence=f"sent {len(sent)} times: {', '.join(str(value) for value in sent)}" if sent else "none was sent",
    )
    launches = recorder.count("RunJobFlow")
    report.add(
        "one-launch",
        "one cluster is launched, and no other cluster of this run is active",
        kept=launches <= 1 and not others,
        evidence=f"RunJobFlow was accepted {launches} times; "
        f"active: {', '.join(other.job_flow_id for other in others) or 'none'}",
    )
    _check_early_release(report)
    report.add(
        "ended",
        "the cluster has ended",
        kept=cluster is None or cluster.has_ended,
        evidence=f"{cluster.job_flow_id} is {cluster.state}" if cluster else "EMR does not know it any more",
    )
    own_association = next((shown.value for shown in recorder.address if shown.value), None)
    kept, evidence = False, "there is no such address"
    if address is not None and address.is_free:
        kept, evidence = True, "it is free"
    elif address is not None and address.association_id != own_association:
        kept, evidence = True, "another owner already has it"
    elif address is not None:
        evidence = f"association {address.association_id}"
    report.add("free", "the address is free after the teardown", kept=kept, evidence=evidence)
    _check_history(report, record, owner)


def _check_early_binding(report: Report, cluster: Cluster | None) -> None:
    bound, ready = report.recorder.first("AssociateAddress"), cluster.ready_at if cluster else None
    kept = None
    if bound is None:
        evidence = "the address was not bound"
    elif ready is None:
        evidence = "the cluster was never ready"
    else:
        kept = bound.at <= ready
        evidence = f"bound {iso(bound.at)}, ready {iso(ready)}: {seconds_between(bound.at, ready)} s earlier"
    promise = "the address is on the primary node before the cluster is ready for steps"
    report.add("binds-early", promise, kept=kept, evidence=evidence)


def _check_early_release(report: Report) -> None:
    recorder = report.recorder
    freed, terminated = recorder.first("DisassociateAddress"), recorder.first("TerminateJobFlows")
    ended = next((shown.at for shown in recorder.cluster if shown.value and shown.value.startswith("TERMINATED")), None)
    kept = None
    if freed is not None and terminated is not None and ended is not None:
        kept = freed.at <= ended
        evidence = (
            f"freed {seconds_between(terminated.at, freed.at)} s after TerminateJobFlows, ended "
            f"{seconds_between(terminated.at, ended)} s after it"
        )
    elif report.plan.measure_drop:
        evidence = "EC2 removed the address (--measure-drop)"
    else:
        evidence = "there was nothing to free"
    promise = "the teardown frees the address before the cluster has ended"
    report.add("frees-early", promise, kept=kept, evidence=evidence)


def _check_history(report: Report, record: Record | None, owner: str) -> None:
    job_flow_id = report.recorder.job_flow_id
    kept, evidence = None, "there is no lock store"
    if record is not None:
        entry = next((entry for entry in reversed(record.history) if entry.resource_id == job_flow_id), None)
        is_over = record.lease is None or record.lease.resource_id != job_flow_id
        kept = is_over and entry is not None and entry.owner == owner
        evidence = f"no entry for {job_flow_id}"
        if entry is not None:
            evidence = f"token {entry.token}, {utc(entry.acquired_at)} to {utc(entry.ended_at)}: {entry.why}"
    report.add("lease-history", "the lease has ended, and is in the history", kept=kept, evidence=evidence)
