"""
Checks of what must be true before a cluster is launched for an Elastic IP.

Each check yields findings: what is wrong, why it matters and how to fix it. Operators run the checks that a launch
depends on before their first call that changes AWS; ``airflow-eip doctor`` runs all of them. No check changes anything.
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

# The checks run, and are shown, in these orders.
_CLUSTER_CHECKS = (job_flow.shape, job_flow.values, job_flow.lifetime, job_flow.idle_termination, job_flow.tags)
_PLACEMENT_CHECKS = (zones.zones_available, zones.instance_types)
# With the address on the primary node:
PRIMARY_CHECKS = (
    address.usable,
    address.holder_has_lease,
    address.association_is_allowed,
    *_CLUSTER_CHECKS,
    job_flow.one_primary,
    job_flow.topology,
    network.subnets_exist,
    zones.border_groups,
    network.internet_gateways,
    network.public_addresses,
    *_PLACEMENT_CHECKS,
    exposure.exposure,
    security_groups.security_groups,
    lock_store.lock_store,
)
# For each address of a pool, before one is chosen for the cluster:
POOL_CHECKS = (address.usable,)
# Without an address, for a cluster behind a load balancer:
UNADDRESSED_CHECKS = (
    *_CLUSTER_CHECKS,
    job_flow.one_primary,
    network.subnets_exist,
    *_PLACEMENT_CHECKS,
    security_groups.security_groups,
)
# With the address on a NAT gateway that is created for the cluster:
CLUSTER_GATEWAY_CHECKS = (
    address.usable,
    address.holder_has_lease,
    nat.gateway_is_allowed,
    *_CLUSTER_CHECKS,
    nat.public_subnet,
    nat.route_tables,
    nat.other_clusters,
    network.subnets_exist,
    nat.cluster_subnets,
    nat.neighbours,
    *_PLACEMENT_CHECKS,
    security_groups.security_groups,
    lock_store.lock_store,
)
# With the address on the user's own NAT gateway:
GATEWAY_CHECKS = (
    address.usable,
    *_CLUSTER_CHECKS,
    nat.own_gateway,
    nat.turns,
    network.subnets_exist,
    nat.routes_to_own_gateway,
    *_PLACEMENT_CHECKS,
    security_groups.security_groups,
    lock_store.lock_store,
)
# For an address that is associated with an existing cluster or instance:
TARGET_CHECKS = (address.usable, address.association_is_allowed)


def examine(setup: Setup, checks: Sequence[Check]) -> Iterator[Outcome]:
    """
    Run checks, one after the other.

    :raises ClientError: or another error of botocore, if an essential check fails because of it.
    """
    denied: set[str] = set()
    failed: dict[Check, str] = {}
    for check in checks:
        missing = setup.template_at(*check.reads) or check.missing(setup)
        outcome = Outcome(check, skipped=missing) if missing else _run(check, setup, denied)
        reason = next((failed[needed] for needed in check.needs if needed in failed), None)
        if reason and not outcome.findings:
            outcome = Outcome(check, skipped=reason)
        if outcome.skipped:
            failed[check] = outcome.skipped
        elif any(finding.severity == "error" for finding in outcome.findings):
            failed[check] = f"it depends on '{check.name}', see above"
        if check is job_flow.shape and outcome.findings:
            # Other checks cannot read parameters of the wrong type.
            setup = replace(setup, job_flow=None)
        yield outcome


def examine_plans(plans: Sequence[Plan], *, at_launch: bool = False) -> Iterator[Outcome]:
    """
    Run the checks of every candidate of a launch. Each check has one outcome, whose findings name the candidates.

    :param at_launch: only the checks that operators run.
    :raises ClientError: as :func:`examine` does.
    """
    several = len(plans) > 1
    done: set[Check] = set()
    named: list[tuple[str, Outcome]] = []
    for plan in plans:
        checks = [check for check in plan.checks if not (check.once and check in done)]
        if at_launch:
            checks = [check for check in checks if check.at_launch and (several or not check.with_fallbacks)]
        if not several:
            yield from examine(plan.setup, checks)
            return
        done.update(checks)
        named.extend((str(plan.setup.candidate), outcome) for outcome in examine(plan.setup, checks))
    yield from merged(named, candidates=len(plans))
    yield spread_outcome(plans)


def _run(check: Check, setup: Setup, denied: set[str]) -> Outcome:
    """
    Run a check.

    :param denied: the actions that earlier checks found not to be permitted; this check adds to them.
    """
    findings: list[Finding] = []
    skipped = None
    try:
        for finding in check.find(setup):
            findings.append(finding)  # noqa: PERF402 - findings before an error count
    except (BotoCoreError, ClientError) as failure:
        if isinstance(failure, ClientError) and is_denied(failure):
            action = _action(setup, str(failure.operation_name))
            if action in denied:
                skipped = f"{action} is not permitted, see above"
            else:
                denied.add(action)
                remedy = (
                    f"allow {action} in the policy of the role that aws_conn_id uses; airflow-eip iam-policy prints "
                    "the complete policy"
                )
                findings.append(_not_run(check, f"{action} is not permitted ({error_code(failure)})", remedy))
        elif check.essential:
            raise
        else:
            findings.append(_not_run(check, str(failure), "try again later"))
    return Outcome(check, tuple(findings), skipped)


def _not_run(check: Check, problem: str, remedy: str) -> Finding:
    """Return the finding for a check that failed; it is an error if a launch needs the check."""
    finding = error if check.essential else warning
    why = f"it is not known whether {check.title}"
    return finding(f"check '{check.name}'", what=f"the check failed: {problem}", why=why, remedy=remedy)


def _action(setup: Setup, operation: str) -> str:
    """Return the IAM action of an operation of EC2 or EMR. Errors of lock stores name their actions themselves."""
    is_ec2 = operation in setup.eip.conn.meta.service_model.operation_names
    return f"{'ec2' if is_ec2 else 'elasticmapreduce'}:{operation}"
