"""The checks that an operator makes before the first call that changes AWS."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.resource_ids import check_allocation_id, is_role_arn
from airflow_eip_provider.exceptions import InvalidInputError, PreflightError
from airflow_eip_provider.hooks.address_pool import AddressPool
from airflow_eip_provider.literals import parse_literal
from airflow_eip_provider.operators.step_list import checked_steps, known_steps
from airflow_eip_provider.rendered import number_of, rendered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_eip_provider.hooks.aws import AwsHooks
    from airflow_eip_provider.preflight import Check, Outcome, Plan, Setup

__all__ = [
    "check_allocation_id",
    "check_cluster_states",
    "check_duration",
    "check_execution_role",
    "check_idle_timeout",
    "check_waits",
    "checked_mapping",
    "checked_steps",
    "known_steps",
    "require",
    "require_plans",
    "usable_addresses",
]

# EMR API Reference, AutoTerminationPolicy.
_IDLE_TIMEOUT = (timedelta(minutes=1), timedelta(days=7))
# Airflow computes the timeout's point in time, which must not overflow.
_LONGEST_WAIT = timedelta(days=3650)


def _invalid(what: str, *, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"checking {what}", problem=problem, remedy=remedy)


def require(setup: Setup, checks: Sequence[Check]) -> list[str]:
    """Run the checks that a launch depends on; return warnings, and raise ``PreflightError`` with all problems."""
    from airflow_eip_provider.preflight import examine

    return _warnings(setup.allocation_id, examine(setup, [check for check in checks if check.at_launch]))


def usable_addresses(
    pool: AddressPool, aws: AwsHooks, *, servers: object = (), azure_conn_id: str = ""
) -> tuple[AddressPool, list[str]]:
    """
    Return the usable addresses of a pool, and a warning for each of the others.

    :param servers: the Azure SQL servers that must all admit an address; without them Azure is not called.
    :raises InvalidInputError: when one of these is not a resource ID.
    :raises AzureRefusedError: and AzureUnavailableError, as ``AzureSqlFirewallHook.list_rules`` does.
    :raises PreflightError: when no address is usable, with the problems of each.
    """
    from airflow_eip_provider.aws.addresses import read_addresses
    from airflow_eip_provider.preflight import POOL_CHECKS, Setup, admitted_by, examine
    from airflow_eip_provider.preflight.reads import Reads

    checks = [*POOL_CHECKS]
    if servers:
        from airflow_eip_provider.hooks.azure import AzureSqlFirewallHook, checked_servers

        with AzureSqlFirewallHook(azure_conn_id) as azure:
            checks.append(admitted_by({server: azure.list_rules(server) for server in checked_servers(servers)}))
    usable, problems = [], []
    addresses = read_addresses(aws.eip.conn, pool)
    for allocation_id in pool:
        reads = Reads(allocation_id, eip=aws.eip, emr=aws.emr)
        reads.address = addresses.get(allocation_id)
        outcomes = examine(Setup(allocation_id=allocation_id, eip=aws.eip, emr=aws.emr, reads=reads), checks)
        errors = [str(finding) for outcome in outcomes for finding in outcome.findings if finding.severity == "error"]
        problems += errors
        usable += [] if errors else [allocation_id]
    if not usable:
        raise PreflightError(str(pool), problems)
    return AddressPool(usable), problems


def require_plans(plans: Sequence[Plan]) -> list[str]:
    """Run the checks that a launch depends on for every candidate; see :func:`require`."""
    from airflow_eip_provider.preflight import examine_plans

    return _warnings(plans[0].setup.allocation_id, examine_plans(plans, at_launch=True))


def _warnings(allocation_id: str, outcomes: Iterable[Outcome]) -> list[str]:
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    if errors := [str(finding) for finding in findings if finding.severity == "error"]:
        raise PreflightError(allocation_id, errors)
    return [str(finding) for finding in findings]


def checked_mapping(value: object, *, parameter: str) -> dict[str, Any]:
    """Return a parameter that is a mapping, or a string (such as a rendered ``.json`` file) that contains one."""
    parsed = parse_literal(value)
    if not isinstance(parsed, dict):
        raise _invalid(
            parameter,
            problem=f"it is {type(parsed).__name__}, not a mapping",
            remedy="give RunJobFlow's parameters as a dict, or as the path of a .json file",
        )
    return parsed


def check_waits(waiter_delay: object, waiter_max_attempts: object) -> None:
    """Check how often and how long an operator polls: numbers, or strings of them, such as from a template."""
    delay = number_of(waiter_delay)
    if delay is None or delay <= 0:
        raise _invalid(
            f"waiter_delay {waiter_delay!r}",
            problem="this is not a number of seconds above 0",
            remedy="give a number, such as 15; a template must render to one",
        )
    attempts = number_of(waiter_max_attempts)
    whole = attempts is not None and attempts >= 1 and attempts == int(attempts)
    if attempts is None or not whole or (isinstance(waiter_max_attempts, str) and "." in waiter_max_attempts):
        raise _invalid(
            f"waiter_max_attempts {waiter_max_attempts!r}",
            problem="this is not a whole number of attempts above 0",
            remedy="give a whole number, such as 240; a template must render to one",
        )
    if delay * attempts > _LONGEST_WAIT.total_seconds():
        raise _invalid(
            f"waiter_delay {waiter_delay!r} and waiter_max_attempts {waiter_max_attempts!r}",
            problem=f"together they are {delay * attempts:.0f} seconds",
            remedy=f"wait for at most {_LONGEST_WAIT.days} days",
        )


def check_duration(parameter: str, value: object) -> None:
    """Check that a value is a ``timedelta`` that is neither negative nor too long."""
    if not isinstance(value, timedelta) or not timedelta(0) <= value <= _LONGEST_WAIT:
        raise _invalid(
            f"{parameter} {value!r}",
            problem=f"this is not a timedelta from 0 to {_LONGEST_WAIT.days} days",
            remedy=f"write {parameter}=timedelta(...), such as timedelta(hours=1)",
        )


def check_execution_role(value: object) -> None:
    """Check the runtime role of steps. Without one (``None``) they have the rights of the instance profile."""
    if value is None:
        return
    rendered(value, name="execution_role_arn", doing="submitting steps")
    if not is_role_arn(value):
        raise _invalid(
            f"execution_role_arn {value!r}",
            problem="this is not the ARN of an IAM role",
            remedy="give arn:aws:iam::ACCOUNT:role/NAME",
        )


def check_cluster_states(value: object) -> None:
    """Check the states of EMR in which a cluster is looked for by its name."""
    from airflow_eip_provider.aws.clusters import CLUSTER_STATES

    if not isinstance(value, (list, tuple)) or any(state not in CLUSTER_STATES for state in value):
        raise _invalid(
            f"cluster_states {value!r}",
            problem="this is not a list of states of EMR",
            remedy=f"give a list of some of {', '.join(CLUSTER_STATES)}",
        )


def check_idle_timeout(value: object) -> None:
    """Check that EMR accepts ``idle_timeout``; with ``None`` it does not terminate an idle cluster."""
    least, most = _IDLE_TIMEOUT
    if value is not None and (not isinstance(value, timedelta) or not least <= value <= most):
        raise _invalid(
            f"idle_timeout {value!r}",
            problem="this is not a timedelta from 60 seconds to 7 days",
            remedy="write idle_timeout=timedelta(hours=1), or None for no termination of idle clusters",
        )
