"""``airflow-eip wait``: until the address is on a cluster, or is free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from airflow_eip_provider import clock
from airflow_eip_provider.cli.address import add_address_arguments, named_addresses
from airflow_eip_provider.cli.command import FAILED, OK, Command, Parser, add_common_arguments, span
from airflow_eip_provider.cli.output import note, only_the_result, print_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from airflow_eip_provider.lease.observation import Observation
    from airflow_eip_provider.triggers.observed import Observed
    from airflow_eip_provider.triggers.second_look import SecondLook
    from airflow_eip_provider.triggers.verdict import Verdict

DESCRIPTION = """\
Wait until an Elastic IP is on a cluster, so that its primary node leaves from it (or its private subnet, by a NAT
gateway), or until it is free; with a lock store free means that no owner has its lease either. Of several addresses it
waits for any one, and says which. Nothing is changed, and no place in the queue is taken: who wants the address uses
"airflow-eip associate"."""

EXAMPLES = r"""
# until it is on the cluster
airflow-eip wait --allocation-id eipalloc-0123456789abcdef0 \
    --job-flow-id j-1ABCDEFGHIJKL
# until nobody has it
airflow-eip wait --allocation-id eipalloc-0123456789abcdef0 \
    --free --timeout 2h
# until any address with a tag is free
airflow-eip wait --tag purpose=azure-sql --free"""


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_address_arguments(parser)
    parser.add_argument("--job-flow-id", metavar="ID", help="wait until the address is on this cluster; or else")
    parser.add_argument("--free", action="store_true", help="wait until the address is free")
    parser.add_argument(
        "--timeout", type=span, default="30m", metavar="SPAN", help="for how long, e.g. 2h (default: 30m)"
    )
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Wait, and say what was seen last."""
    with only_the_result():
        from airflow_eip_provider.cli.address import checked_job_flow_id
        from airflow_eip_provider.cli.session import lock_store_of, open_session
        from airflow_eip_provider.cli.waiting import deadline_after, wait_until
        from airflow_eip_provider.exceptions import UsageError
        from airflow_eip_provider.triggers.second_look import SecondLook

        named = named_addresses(options)
        job_flow_id = checked_job_flow_id(options.job_flow_id)
        if bool(job_flow_id) == options.free:
            problem = "two things are" if options.free else "nothing is"
            raise UsageError("waiting", problem=f"{problem} waited for", remedy="give either --job-flow-id or --free")
        lock_store = lock_store_of(options) if options.free else None
        session = open_session(options)
        note(session)
        looks = {allocation_id: SecondLook() for allocation_id in named.read(session.hooks)}
        verdict = wait_until(
            lambda seen: _judge_any(seen, job_flow_id, lock_store, looks),
            session.hooks.client_for,
            deadline=deadline_after(options.timeout),
        )
    done = verdict.status == "done"
    if options.json:
        where = {"account": session.account, "region": session.region}
        print_json({**where, "done": done, "last_seen": verdict.message, **verdict.data})
    elif done:
        print(verdict.message)
    if not done:
        note(f"error: not in time; last seen: {verdict.message}")
    return OK if done else FAILED


def _judge_any(
    observed: Observed, job_flow_id: str | None, lock_store: str | None, looks: Mapping[str, SecondLook]
) -> Verdict:
    """Judge every address until one is what is waited for; of several, the verdict says which."""
    from airflow_eip_provider.triggers.verdict import Verdict as Seen

    found: list[Verdict] = []
    for allocation_id, second_look in looks.items():
        verdict = _judge(observed, allocation_id, job_flow_id, lock_store, second_look)
        if len(looks) == 1:
            return verdict
        if verdict.status == "done" or verdict.data.get("gone") == "cluster":
            return Seen(verdict.status, verdict.message, {**verdict.data, "allocation_id": allocation_id})
        found.append(verdict)
    message = "; ".join(verdict.message for verdict in found)
    if all(verdict.status == "failed" for verdict in found):
        return Seen("failed", message, found[0].data)
    return Seen("pending", message)


def _judge(
    observed: Observed,
    allocation_id: str,
    job_flow_id: str | None,
    lock_store: str | None,
    second_look: SecondLook,
) -> Verdict:
    from airflow_eip_provider.triggers.eip import judge_association

    expect: Literal["associated", "free"] = "associated" if job_flow_id else "free"
    found = judge_association(observed, allocation_id, job_flow_id=job_flow_id, expect=expect)
    verdict = second_look.judge(found, now=clock.time())
    if lock_store is None or verdict.status != "done":
        return verdict
    return _unless_leased(verdict, observed.lease(lock_store, allocation_id))


def _unless_leased(verdict: Verdict, observation: Observation) -> Verdict:
    """Judge a free address by its lease; a finished one is free, although it is still recorded."""
    from airflow_eip_provider.lease.description import holder_of
    from airflow_eip_provider.lease.observation import LeaseCondition, condition_of
    from airflow_eip_provider.triggers.verdict import Verdict as Seen

    if observation.snapshot.record.lease is None or condition_of(observation) is LeaseCondition.FINISHED:
        return verdict
    return Seen("pending", f"{verdict.message}, and its lease is {holder_of(observation)}", verdict.data)


COMMAND = Command(
    "wait",
    "wait until an address is on a cluster or free",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "it is",
        FAILED: "an error, or not in time, with what was seen last",
    },
)
