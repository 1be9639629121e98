"""``airflow-eip wait``: wait until an address is on a cluster, or is free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from airflow_eip_provider import clock
from airflow_eip_provider.cli.arguments import (
    add_address_arguments,
    add_common_arguments,
    add_duration,
    checked_job_flow_id,
    named_addresses,
)
from airflow_eip_provider.cli.command import FAILED, OK, Command, Parser
from airflow_eip_provider.cli.output import note, only_the_result, print_json
from airflow_eip_provider.exceptions import LockStoreNotCreatedError, UsageError
from airflow_eip_provider.lease.description import holder_of
from airflow_eip_provider.lease.observation import LeaseCondition, condition_of
from airflow_eip_provider.triggers.verdict import Verdict

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from airflow_eip_provider.triggers.observed import Observed
    from airflow_eip_provider.triggers.second_look import SecondLook

DESCRIPTION = """\
Wait until an Elastic IP is on a cluster, so that connections from its primary node come from this address, or until
the address is free. If the address is on a NAT gateway, wait until connections from the cluster's private subnet come
from the address. With a lock store, an address is free only if no owner has its lease.

With several addresses, wait until one of them is in that state, and print which one.

The command changes nothing and does not join the queue. To get the address for a cluster, use "airflow-eip
associate"."""

EXAMPLES = r"""
# Wait until the address is on the cluster
airflow-eip wait --allocation-id eipalloc-0123456789abcdef0 \
    --job-flow-id j-1ABCDEFGHIJKL
# Wait until the address is free, for at most two hours
airflow-eip wait --allocation-id eipalloc-0123456789abcdef0 \
    --free --timeout 2h
# Wait until any of the addresses with a tag is free
airflow-eip wait --tag purpose=azure-sql --free"""


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_address_arguments(parser)
    parser.add_argument("--job-flow-id", metavar="ID", help="wait until the address is on this cluster")
    parser.add_argument("--free", action="store_true", help="wait until the address is free")
    add_duration(parser, "--timeout", "how long to wait, e.g. 2h", default="30m")
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Wait, and print the last verdict."""
    with only_the_result():
        from airflow_eip_provider.cli.session import lock_store_of, open_session
        from airflow_eip_provider.cli.waiting import deadline_after, wait_until
        from airflow_eip_provider.triggers.second_look import SecondLook

        addresses = named_addresses(options)
        job_flow_id = checked_job_flow_id(options.job_flow_id)
        if bool(job_flow_id) == options.free:
            problem = "both --job-flow-id and --free are given" if options.free else "nothing to wait for is given"
            raise UsageError("waiting", problem=problem, remedy="give either --job-flow-id or --free")
        lock_store = lock_store_of(options) if options.free else None
        session = open_session(options)
        second_looks = {allocation_id: SecondLook() for allocation_id in addresses.resolve(session.hooks)}
        verdict = wait_until(
            lambda observed: _judge_any(observed, job_flow_id, lock_store, second_looks),
            session.hooks.client_for,
            deadline=deadline_after(options.timeout),
        )
    done = verdict.status == "done"
    if options.json:
        print_json({**session.facts, "done": done, "last_seen": verdict.message, **verdict.data})
    elif done:
        print(verdict.message)
    if not done:
        note(f"error: timed out; last state: {verdict.message}")
    return OK if done else FAILED


def _judge_any(
    observed: Observed, job_flow_id: str | None, lock_store: str | None, second_looks: Mapping[str, SecondLook]
) -> Verdict:
    """Return the first verdict that ends the wait, with its address; with one address, its verdict."""
    verdicts: list[Verdict] = []
    for allocation_id, second_look in second_looks.items():
        verdict = _judge(observed, allocation_id, job_flow_id, lock_store, second_look)
        if len(second_looks) == 1:
            return verdict
        if verdict.status == "done" or verdict.data.get("gone") == "cluster":
            return Verdict(verdict.status, verdict.message, {**verdict.data, "allocation_id": allocation_id})
        verdicts.append(verdict)
    message = "; ".join(verdict.message for verdict in verdicts)
    if all(verdict.status == "failed" for verdict in verdicts):
        return Verdict("failed", message, verdicts[0].data)
    return Verdict("pending", message)


def _judge(
    observed: Observed,
    allocation_id: str,
    job_flow_id: str | None,
    lock_store: str | None,
    second_look: SecondLook,
) -> Verdict:
    from airflow_eip_provider.triggers.eip import judge_association

    expect: Literal["associated", "free"] = "associated" if job_flow_id else "free"
    association = judge_association(observed, allocation_id, job_flow_id=job_flow_id, expect=expect)
    verdict = second_look.judge(association, now=clock.time())
    if lock_store is None or verdict.status != "done":
        return verdict
    try:
        observation = observed.lease(lock_store, allocation_id)
    except LockStoreNotCreatedError:  # so there is no lease
        return verdict
    # The lease of a cluster that has ended stays in the record until the next owner acquires it.
    if observation.snapshot.record.lease is None or condition_of(observation) is LeaseCondition.FINISHED:
        return verdict
    return Verdict("pending", f"{verdict.message}, and its lease is {holder_of(observation)}", verdict.data)


COMMAND = Command(
    "wait",
    "wait until an address is on a cluster or free",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "the address is in the expected state",
        FAILED: "an error, or a timeout; the last state is on standard error",
    },
)
