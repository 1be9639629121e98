"""
What must be true before a cluster is launched for an Elastic IP.

One list of checks; each yields findings that say what is wrong, why it matters and how to fix it. The operators make
those that a launch depends on, before their first call that changes AWS; ``airflow-eip doctor`` makes all of them.
Nothing here changes anything.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from airflow_eip_provider.aws.errors import error_code, is_denied
from airflow_eip_provider.preflight import address, exposure, job_flow, lock_store, nat, network, security_groups, zones
from airflow_eip_provider.preflight.azure import admitted_by
from airflow_eip_provider.preflight.fallbacks import parsed_fallbacks, read_candidates
from airflow_eip_provider.preflight.finding import Check, Finding, Outcome, error, warning
from airflow_eip_provider.preflight.plans import Plan, has_spot_primary, merged, plans_of, spread_outcome
from airflow_eip_provider.preflight.setup import Setup
from airflow_eip_provider.preflight.templates import without_templates

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "CLUSTER_GATEWAY_CHECKS",
    "GATEWAY_CHECKS",
    "POOL_CHECKS",
    "PRIMARY_CHECKS",
    "TARGET_CHECKS",
    "UNADDRESSED_CHECKS",
    "Check",
    "Finding",
    "Outcome",
    "Plan",
    "Setup",
    "admitted_by",
    "examine",
    "examine_plans",
    "has_spot_primary",
    "parsed_fallbacks",
    "plans_of",
    "read_candidates",
    "without_templates",
]

# In this order they are made and shown. For an address on the primary node:
PRIMARY_CHECKS = (
    address.USABLE,
    address.HOLDER,
    address.PERMISSION,
    job_flow.SHAPE,
    job_flow.LIFETIME,
    job_flow.IDLE_TERMINATION,
    job_flow.TAGS,
    job_flow.ONE_PRIMARY,
    job_flow.TOPOLOGY,
    network.SUBNETS,
    network.INTERNET_GATEWAY,
    network.PUBLIC_ADDRESSES,
    zones.ZONES,
    zones.INSTANCE_TYPES,
    exposure.SECURITY_GROUPS,
    security_groups.SECURITY_GROUPS,
    lock_store.LOCK_STORE,
)
# Of each address of a pool, before the one is known that the cluster will have:
POOL_CHECKS = (address.USABLE,)
# For a cluster without an address, which is reached through a load balancer:
UNADDRESSED_CHECKS = (
    job_flow.SHAPE,
    job_flow.LIFETIME,
    job_flow.IDLE_TERMINATION,
    job_flow.TAGS,
    job_flow.ONE_PRIMARY,
    network.SUBNETS,
    zones.ZONES,
    zones.INSTANCE_TYPES,
    security_groups.SECURITY_GROUPS,
)
# On a NAT gateway that is made for the cluster:
CLUSTER_GATEWAY_CHECKS = (
    address.USABLE,
    address.HOLDER,
    nat.PERMISSIONS,
    job_flow.SHAPE,
    job_flow.LIFETIME,
    job_flow.IDLE_TERMINATION,
    job_flow.TAGS,
    nat.PUBLIC_SUBNET,
    nat.ROUTE_TABLES,
    nat.OTHER_CLUSTERS,
    network.SUBNETS,
    nat.CLUSTER_SUBNETS,
    nat.NEIGHBOURS,
    zones.ZONES,
    zones.INSTANCE_TYPES,
    security_groups.SECURITY_GROUPS,
    lock_store.LOCK_STORE,
)
# On a NAT gateway that has it for good:
GATEWAY_CHECKS = (
    address.USABLE,
    job_flow.SHAPE,
    job_flow.LIFETIME,
    job_flow.IDLE_TERMINATION,
    job_flow.TAGS,
    nat.GATEWAY,
    nat.TURNS,
    network.SUBNETS,
    nat.WAYS_OUT,
    zones.ZONES,
    zones.INSTANCE_TYPES,
    security_groups.SECURITY_GROUPS,
    lock_store.LOCK_STORE,
)
# For an address on a cluster or an instance that was made elsewhere.
TARGET_CHECKS = (address.USABLE, address.PERMISSION)


def examine(setup: Setup, checks: Sequence[Check]) -> Iterator[Outcome]:
    """
    Make checks, one after the other.

    :raises ClientError: and others of botocore, when AWS gives an essential check no answer that can be explained.
    """
    denied: set[str] = set()
    unsound: dict[Check, str] = {}
    for check in checks:
        missing = setup.template_at(*check.reads) or check.missing(setup)
        outcome = Outcome(check, skipped=missing) if missing else _made(check, setup, denied)
        doubts = [unsound[needed] for needed in check.needs if needed in unsound]
        if doubts and not outcome.findings:
            outcome = Outcome(check, skipped=doubts[0])
        if outcome.skipped:
            unsound[check] = outcome.skipped
        elif any(finding.severity == "error" for finding in outcome.findings):
            unsound[check] = f"it depends on '{check.name}', see above"
        if check is job_flow.SHAPE and outcome.findings:
            # What has another type than it should cannot be read any further.
            setup = replace(setup, job_flow=None)
        yield outcome


def examine_plans(plans: Sequence[Plan], *, at_launch: bool = False) -> Iterator[Outcome]:
    """
    Make the checks of every candidate of a launch; each check has one outcome, in which findings name the candidates.

    :param at_launch: only those that an operator makes.
    :raises ClientError: as :func:`examine` does.
    """
    several = len(plans) > 1
    if not several:
        yield from examine(plans[0].setup, _chosen(plans[0].checks, at_launch=at_launch, several=False))
        return
    seen: set[Check] = set()
    named: list[tuple[str, Outcome]] = []
    for plan in plans:
        checks = [c for c in _chosen(plan.checks, at_launch=at_launch, several=True) if not (c.once and c in seen)]
        seen.update(checks)
        named.extend((str(plan.setup.candidate), outcome) for outcome in examine(plan.setup, checks))
    yield from merged(named, candidates=len(plans))
    yield spread_outcome(plans)


def _chosen(checks: Sequence[Check], *, at_launch: bool, several: bool) -> list[Check]:
    """Leave out what an operator does not check."""
    if not at_launch:
        return list(checks)
    return [check for check in checks if check.at_launch and (several or not check.with_fallbacks)]


def _made(check: Check, setup: Setup, denied: set[str]) -> Outcome:
    """
    Make a check.

    :param denied: the actions that are not permitted, as the checks before have found.
    """
    findings: list[Finding] = []
    skipped = None
    try:
        for finding in check.find(setup):
            findings.append(finding)  # noqa: PERF402 - what was found before an error counts
    except (BotoCoreError, ClientError) as unanswered:
        if isinstance(unanswered, ClientError) and is_denied(unanswered):
            action = _action(setup, str(unanswered.operation_name))
            if action in denied:
                skipped = f"{action} is not permitted, see above"
            else:
                denied.add(action)
                mend = (
                    f"allow {action} in the policy of the role behind aws_conn_id; airflow-eip iam-policy prints all "
                    "that it needs"
                )
                findings.append(_unanswered(check, f"{action} is not permitted ({error_code(unanswered)})", mend))
        elif check.essential:
            raise
        else:
            findings.append(_unanswered(check, str(unanswered), "try again later"))
    return Outcome(check, tuple(findings), skipped)


def _unanswered(check: Check, problem: str, mend: str) -> Finding:
    """Tell that a check could not be made; what a launch cannot do without is an error."""
    finding = error if check.essential else warning
    why = f"it is not known whether {check.title}"
    return finding(f"check '{check.name}'", what=f"could not check: {problem}", why=why, mend=mend)


def _action(setup: Setup, operation: str) -> str:
    """Name the permission for a call of EC2's or EMR's; lock stores name theirs themselves."""
    is_ec2 = operation in setup.eip.conn.meta.service_model.operation_names
    return f"{'ec2' if is_ec2 else 'elasticmapreduce'}:{operation}"
