"""``airflow-eip release``: release an address from a cluster that no longer needs it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_eip_provider.aws.tags import OWNER_DIGEST_TAG
from airflow_eip_provider.cli.arguments import (
    add_address_arguments,
    add_common_arguments,
    add_duration,
    checked_job_flow_id,
    named_addresses,
)
from airflow_eip_provider.cli.command import FAILED, OK, Command, Parser
from airflow_eip_provider.cli.output import only_the_result, print_json
from airflow_eip_provider.exceptions import (
    AddressNotFoundError,
    InvalidInputError,
    UsageError,
    WaitTimeoutError,
)
from airflow_eip_provider.lease.owners import is_cluster_owner

if TYPE_CHECKING:
    import argparse

    from airflow_eip_provider.aws.addresses import Holder
    from airflow_eip_provider.cli.session import Session
    from airflow_eip_provider.lease.record import Lease

DESCRIPTION = """\
Disassociate an Elastic IP from its cluster, and release the cluster's lease in the lock store, so that the next owner
in the queue does not have to wait until the cluster has terminated. While steps run on the cluster, nothing is changed;
--wait waits for them to finish.

An address that "airflow-eip associate" or a bootstrap action associated is released without further options. If a task
of Airflow did, name its cluster with --job-flow-id; with a lock store, name also a cluster that has the address but not
its lease, such as one to which somebody bound it by hand. An address on your own NAT gateway, or on anything else that
is not an EMR cluster, is left alone.

With a lock store this takes at least a minute: the lease is first set to releasing, so that no further step is
submitted, and EMR may list a step late that was submitted before. It is safe to run the command again, or late.

With several addresses, --job-flow-id is required: the address that this cluster has, or had last, is released."""

EXAMPLES = r"""
# Release the address as soon as the running steps have finished
airflow-eip release --allocation-id eipalloc-0123456789abcdef0 --wait 2h
# Release it from the cluster of a task, before its teardown does
airflow-eip release --allocation-id eipalloc-0123456789abcdef0 \
    --job-flow-id j-1ABCDEFGHIJKL
# Release whichever of the addresses with a tag the cluster has
airflow-eip release --tag purpose=azure-sql --job-flow-id j-1ABCDEFGHIJKL"""


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_address_arguments(parser)
    parser.add_argument("--job-flow-id", metavar="ID", help="the cluster (default: the one that has the address)")
    add_duration(parser, "--wait", "how long to wait for running steps, e.g. 2h", default="0")
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Find the address and its cluster, and release."""
    with only_the_result():
        from airflow_eip_provider.cli.session import lock_store_of, open_session
        from airflow_eip_provider.hooks.address_pool import AddressPool, address_of, not_found

        addresses = named_addresses(options)
        job_flow_id = checked_job_flow_id(options.job_flow_id)
        if addresses.is_pool and job_flow_id is None:
            problem = "several Elastic IPs, or a tag, are given without a cluster"
            raise UsageError("releasing", problem=problem, remedy="name the cluster with --job-flow-id, or one address")
        lock_store = lock_store_of(options)
        session = open_session(options)
        allocation_id, *others = addresses.resolve(session.hooks)
        if job_flow_id is not None and addresses.is_pool:
            pool = AddressPool([allocation_id, *others])
            found = address_of(pool, job_flow_id, session.hooks, lock_store=lock_store)
            if found is None and others:
                raise not_found(pool, job_flow_id)
            allocation_id = found or allocation_id
        release = _Release(session, allocation_id, lock_store, wait=options.wait)
        where = f"cluster {job_flow_id}" if job_flow_id else "any cluster"
        job_flow_id = job_flow_id or release.find_cluster()
        released = release.release(job_flow_id) if job_flow_id else False
    if options.json:
        facts = {"allocation_id": allocation_id, "job_flow_id": job_flow_id, "released": released}
        print_json({**session.facts, **facts})
    elif released:
        print(f"Elastic IP {allocation_id} was released from cluster {job_flow_id}")
    else:
        print(f"Elastic IP {allocation_id} is not on {where}: nothing to do")
    return OK


class _Release:
    """Releases one address from one cluster."""

    def __init__(self, session: Session, allocation_id: str, lock_store: str | None, *, wait: timedelta) -> None:
        from airflow_eip_provider.cli.waiting import deadline_after

        self._session = session
        self._hooks = session.hooks
        self._allocation_id = allocation_id
        self._waits = bool(wait)
        self._deadline = deadline_after(wait)
        self._has_store = lock_store is not None
        self._lease_client = session.hooks.lease_client(lock_store, allocation_id)

    def find_cluster(self) -> str | None:
        """
        Return the cluster that has the address or its lease, if it can be released without being named.

        :raises InvalidInputError: when a task has the address, or something that is not a cluster.
        """
        from airflow_eip_provider.aws.lag import SECOND_LOOK_SECONDS, until_shown
        from airflow_eip_provider.lease_client.reads import is_cluster

        holder = until_shown(self._holder, within=SECOND_LOOK_SECONDS)
        lease = self._lease_client.read().record.lease
        if holder is None:
            # An earlier release may have failed after it disassociated the address.
            if lease is None or lease.resource_id is None or not is_cluster(lease.resource_id):
                return None
            self._refuse_lease_of_task(lease)
            return lease.resource_id
        if holder.job_flow_id is None:
            raise self._refusal(
                f"it is on {holder.description}, which is not an EMR cluster",
                "nothing was changed; wait until it is free, or disassociate it there",
            )
        if lease is not None and lease.resource_id == holder.job_flow_id:
            self._refuse_lease_of_task(lease)
        elif lease is not None:
            raise self._refusal(
                f"it is on {holder.description}, and '{lease.attempt.name}' has its lease",
                f"to release it from that cluster, name it: --job-flow-id {holder.job_flow_id}",
            )
        elif OWNER_DIGEST_TAG in holder.tags:  # a task launched the cluster
            raise self._task_refusal(holder.description, holder.job_flow_id)
        elif self._has_store:  # where this command and the bootstrap action would have a lease
            raise self._refusal(
                f"it is on {holder.description} without a lease, so somebody bound it by hand",
                f"find out who did; to release it from that cluster, name it: --job-flow-id {holder.job_flow_id}",
            )
        return holder.job_flow_id

    def _refuse_lease_of_task(self, lease: Lease) -> None:
        job_flow_id = str(lease.resource_id)
        if not is_cluster_owner(lease.attempt.name, job_flow_id):
            raise self._task_refusal(f"'{lease.attempt.name}' on cluster '{job_flow_id}'", job_flow_id)

    def _task_refusal(self, owner: str, job_flow_id: str) -> InvalidInputError:
        return self._refusal(
            f"it is leased to {owner}, a task of Airflow",
            f"its teardown releases it; to release it earlier, name the cluster: --job-flow-id {job_flow_id}",
        )

    def _refusal(self, problem: str, remedy: str) -> InvalidInputError:
        return InvalidInputError(f"releasing Elastic IP '{self._allocation_id}'", problem=problem, remedy=remedy)

    def _holder(self) -> Holder | None:
        address = self._hooks.eip.get_address(self._allocation_id)
        if address is None:
            raise AddressNotFoundError(self._allocation_id, region=self._session.region)
        return None if address.is_free else self._hooks.eip.get_holder(address)

    def release(self, job_flow_id: str) -> bool:
        """
        Stop further steps, wait for those that run, disassociate the address, and release the lease.

        :return: whether there was something to release.
        """
        from airflow_eip_provider.aws.lag import READS_LAG_SECONDS, SECOND_LOOK_SECONDS, until_shown
        from airflow_eip_provider.cli.waiting import deadline_after

        def has_address() -> bool:
            holder = self._holder()
            return holder is not None and holder.job_flow_id == job_flow_id

        lease = self._lease_client.read().record.lease
        has_lease = lease is not None and lease.resource_id == job_flow_id
        if not has_lease and not until_shown(has_address, within=SECOND_LOOK_SECONDS):
            if self._hooks.emr.get_cluster(job_flow_id) is None:
                raise self._refusal(f"EMR does not know cluster '{job_flow_id}'", "check the cluster ID and the region")
            return False
        self._wait_for_steps(job_flow_id, "nothing was changed")
        if self._lease_client.start_release(job_flow_id):
            visible_by = deadline_after(timedelta(seconds=READS_LAG_SECONDS))
            state = "its lease is releasing, so no further fenced step can start"
            self._wait_for_steps(job_flow_id, state, visible_by=visible_by)
        until_shown(lambda: self._lease_client.disassociate(job_flow_id), within=SECOND_LOOK_SECONDS)
        self._lease_client.release(job_flow_id, why="released by hand")
        return True

    def _wait_for_steps(self, job_flow_id: str, state: str, *, visible_by: float = 0.0) -> None:
        """
        Wait until no step runs.

        :param state: what was changed so far, for the error.
        :param visible_by: when EMR lists every step that was submitted, in seconds since the epoch.
        :raises InvalidInputError: naming the steps, without ``--wait``.
        :raises WaitTimeoutError: naming the steps.
        """
        from airflow_eip_provider import clock
        from airflow_eip_provider.aws.lag import may_be_hidden
        from airflow_eip_provider.cli.waiting import wait_until
        from airflow_eip_provider.triggers.emr import judge_no_step_runs

        verdict = wait_until(
            lambda observed: judge_no_step_runs(
                observed, job_flow_id, may_lag=may_be_hidden(visible_by, now=clock.time())
            ),
            self._hooks.client_for,
            deadline=max(self._deadline, visible_by),
        )
        if verdict.status == "pending":
            if not self._waits and (steps := verdict.data["step_ids"]):
                raise self._refusal(f"steps are running: {', '.join(steps)}", f"{state}; --wait 2h waits for them")
            last_seen = f"{verdict.message} ({state})"
            raise WaitTimeoutError(f"the steps of cluster '{job_flow_id}' to end", last_seen=last_seen, bound="--wait")


COMMAND = Command(
    "release",
    "release an address from a cluster",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "the address is not on the cluster",
        FAILED: "an error, steps are running, or EMR does not know the cluster",
    },
)
