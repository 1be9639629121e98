"""``airflow-eip release``: give the address back that a cluster does not need any more."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_eip_provider.cli.address import add_address_arguments, named_addresses
from airflow_eip_provider.cli.command import FAILED, OK, Command, Parser, add_common_arguments, span
from airflow_eip_provider.cli.output import note, only_the_result, print_json
from airflow_eip_provider.exceptions import AddressNotFoundError, InvalidInputError, UsageError, WaitTimeoutError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from airflow_eip_provider.aws.addresses import Holder
    from airflow_eip_provider.cli.session import Session
    from airflow_eip_provider.lease.record import Lease

DESCRIPTION = """\
Take an Elastic IP off the cluster that has it, and end that cluster's lease in the lock store: the next in the queue
need not wait for the cluster's end. While steps of the cluster run, nothing is done, unless --wait says how long to
wait for their end. What "airflow-eip associate" or a bootstrap action put there is released as it is; what a task of
Airflow put there only when --job-flow-id names the cluster. What is on a NAT gateway of your own, or on anything else
that is no cluster, is left alone.

With a lock store it takes at least a minute: the lease is closed first, so that no further fenced step is submitted,
and EMR may show a step late that was submitted before. Without a lock store, clusters that tasks launched are known by
their tags. Safe to give twice, or late.

Of several addresses, --job-flow-id says which one is meant: the one that this cluster has, or had last."""

EXAMPLES = r"""
# give it back, once the steps that run have ended
airflow-eip release --allocation-id eipalloc-0123456789abcdef0 --wait 2h
# from the cluster of a task, before its teardown
airflow-eip release --allocation-id eipalloc-0123456789abcdef0 \
    --job-flow-id j-1ABCDEFGHIJKL
# the same, whichever address with a tag the cluster has
airflow-eip release --tag purpose=azure-sql --job-flow-id j-1ABCDEFGHIJKL"""


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_address_arguments(parser)
    parser.add_argument("--job-flow-id", metavar="ID", help="the cluster (default: the one that has the address)")
    parser.add_argument(
        "--wait",
        type=span,
        default="0",
        metavar="SPAN",
        help="how long to wait for running steps, e.g. 2h (default: 0)",
    )
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Find the cluster, close the lease, wait for the steps, and release."""
    with only_the_result():
        from airflow_eip_provider.cli.address import checked_job_flow_id
        from airflow_eip_provider.cli.session import lock_store_of, open_session
        from airflow_eip_provider.cli.waiting import deadline_after

        addresses = named_addresses(options)
        named = checked_job_flow_id(options.job_flow_id)
        if addresses.is_pool and named is None:
            problem = "several Elastic IPs are named, or a tag, and no cluster"
            raise UsageError("releasing", problem=problem, remedy="name the cluster with --job-flow-id, or one address")
        lock_store = lock_store_of(options)
        session = open_session(options)
        note(session)
        allocation_id = _released_address(addresses.read(session.hooks), named, session, lock_store)
        work = _Release(session, allocation_id, lock_store, deadline=deadline_after(options.wait))
        job_flow_id = named or work.find()
        released = work.perform(job_flow_id) if job_flow_id else False
    if options.json:
        where = {"account": session.account, "region": session.region}
        print_json({**where, "allocation_id": allocation_id, "job_flow_id": job_flow_id, "released": released})
    elif released:
        print(f"Elastic IP {allocation_id} is off cluster {job_flow_id}")
    else:
        print(f"Elastic IP {allocation_id} is not on {f'cluster {named}' if named else 'any cluster'}: nothing to do")
    return OK


def _released_address(
    allocation_ids: Sequence[str], job_flow_id: str | None, session: Session, lock_store: str | None
) -> str:
    """
    Return which one of several addresses a cluster has, or had last.

    :raises InvalidInputError: when it has none of them.
    """
    from airflow_eip_provider.hooks.address_pool import AddressPool, address_of

    if len(allocation_ids) == 1:
        return allocation_ids[0]
    return str(address_of(AddressPool(allocation_ids), str(job_flow_id), session.hooks, lock_store=lock_store))


class _Release:
    """The way of one address from one cluster."""

    def __init__(self, session: Session, allocation_id: str, lock_store: str | None, *, deadline: float) -> None:
        self._session = session
        self._hooks = session.hooks
        self._allocation_id = allocation_id
        self._deadline = deadline
        self._lease_client = session.hooks.lease_client(lock_store, allocation_id)

    def find(self) -> str | None:
        """
        Return the cluster that has the address, or its lease, if it may be released without being named.

        :raises InvalidInputError: for what is no cluster's, and for what a task of Airflow put there.
        """
        holder = self._holder()
        lease = self._lease_client.read().record.lease
        if holder is None:
            return self._of_lease(lease)
        if holder.job_flow_id is None:
            raise self._refusal(
                f"it is on {holder.description}, which is no EMR cluster",
                "nothing was changed; wait until it is free, or disassociate it there",
            )
        if lease is not None and lease.resource_id == holder.job_flow_id:
            self._check_by_hand(lease)
        elif lease is not None:
            raise self._refusal(
                f"it is on {holder.description}, and '{lease.attempt.name}' has its lease",
                f"if it is to leave that cluster, name it: --job-flow-id {holder.job_flow_id}",
            )
        elif _is_tasks(holder):
            raise self._of_a_task(holder.description, holder.job_flow_id)
        return holder.job_flow_id

    def _of_lease(self, lease: Lease | None) -> str | None:
        """Return the cluster of a lease whose address is off already: an earlier release did not come to its end."""
        from airflow_eip_provider.lease_client.reads import is_cluster

        if lease is None or lease.resource_id is None or not is_cluster(lease.resource_id):
            return None
        self._check_by_hand(lease)
        return lease.resource_id

    def _check_by_hand(self, lease: Lease) -> None:
        from airflow_eip_provider.lease.owners import is_cluster_owner

        job_flow_id = str(lease.resource_id)
        if not is_cluster_owner(lease.attempt.name, job_flow_id):
            raise self._of_a_task(f"'{lease.attempt.name}' on cluster '{job_flow_id}'", job_flow_id)

    def _of_a_task(self, whose: str, job_flow_id: str) -> InvalidInputError:
        return self._refusal(
            f"it is leased to {whose}, a task of Airflow",
            f"its teardown gives it back; to do so before, name the cluster: --job-flow-id {job_flow_id}",
        )

    def _refusal(self, problem: str, remedy: str) -> InvalidInputError:
        return InvalidInputError(f"releasing Elastic IP '{self._allocation_id}'", problem=problem, remedy=remedy)

    def _holder(self) -> Holder | None:
        address = self._hooks.eip.get_address(self._allocation_id)
        if address is None:
            raise AddressNotFoundError(self._allocation_id, region=self._session.region)
        return None if address.is_free else self._hooks.eip.get_holder(address)

    def perform(self, job_flow_id: str) -> bool:
        """
        No further step → no step left → address free → lease released.

        :return: whether there was something to release.
        """
        from airflow_eip_provider.aws.lag import READS_LAG_SECONDS
        from airflow_eip_provider.cli.waiting import deadline_after

        holder = self._holder()
        there = holder is not None and holder.job_flow_id == job_flow_id
        lease = self._lease_client.read().record.lease
        if not there and (lease is None or lease.resource_id != job_flow_id):
            return False
        self._wait_for_steps(job_flow_id, closed=False)
        if self._lease_client.start_release(job_flow_id):
            self._wait_for_steps(job_flow_id, closed=True, show_by=deadline_after(timedelta(seconds=READS_LAG_SECONDS)))
        self._lease_client.disassociate(job_flow_id)
        self._lease_client.release(job_flow_id, why="released by hand")
        return True

    def _wait_for_steps(self, job_flow_id: str, *, closed: bool, show_by: float = 0.0) -> None:
        """
        Wait until no step runs: first before anything is changed, then for what started meanwhile.

        :param show_by: by when EMR shows every step that was submitted, in seconds since the epoch.
        :raises WaitTimeoutError: naming the steps.
        """
        from airflow_eip_provider.aws.lag import TOLERANCE_SECONDS
        from airflow_eip_provider.cli.waiting import seconds_left, wait_until
        from airflow_eip_provider.triggers.emr import judge_no_step_runs

        seen = wait_until(
            lambda seen: judge_no_step_runs(seen, job_flow_id, may_lag=seconds_left(show_by) > TOLERANCE_SECONDS),
            self._hooks.client_for,
            deadline=max(self._deadline, show_by),
        )
        if seen.status == "pending":
            state = "its lease is releasing, so no further fenced step can start" if closed else "nothing was changed"
            raise WaitTimeoutError(
                f"the steps of cluster '{job_flow_id}' to end", last_seen=f"{seen.message} ({state})", bound="--wait"
            )


def _is_tasks(holder: Holder) -> bool:
    """Whether a task launched the cluster, by its tags."""
    from airflow_eip_provider.aws.tags import OWNER_DIGEST_TAG

    return OWNER_DIGEST_TAG in holder.tags


COMMAND = Command(
    "release",
    "give an address back from a cluster",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "the address is not on the cluster any more",
        FAILED: "an error, or steps that run",
    },
)
