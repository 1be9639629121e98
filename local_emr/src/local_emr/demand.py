"""Failures on demand: end clusters, lose instances and zones, make services fail, refuse calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from local_emr.emr.cluster import Reason
from local_emr.faults import ClusterFault

if TYPE_CHECKING:
    from collections.abc import Mapping
    from threading import RLock

    from local_emr.ec2.api import Ec2
    from local_emr.emr.api import Emr
    from local_emr.emr.cluster import Cluster
    from local_emr.faults import Faults
    from local_emr.iam.permissions import Permissions
    from local_emr.past import Past
    from local_emr.services.primaries import PrimaryServices, Trouble


class _World(Protocol):
    """What the mixin below needs of its class."""

    region: str
    lock: RLock
    emr: Emr
    faults: Faults
    past: Past
    permissions: Permissions
    services: PrimaryServices

    def ec2(self, region: str) -> Ec2:
        """Return a region's EC2."""

    def cluster(self, job_flow_id: str) -> Cluster:
        """Return a cluster."""


class OnDemand:
    """The part of :class:`local_emr.LocalAws` that triggers what happens on AWS without a request."""

    def end_cluster(
        self: _World,
        job_flow_id: str,
        *,
        state: str = "TERMINATED",
        code: str = "INTERNAL_ERROR",
        message: str = "Ended on demand",
    ) -> None:
        """End a cluster at once, as TERMINATED or TERMINATED_WITH_ERRORS, for the reason given."""
        with self.lock:
            fails = state == "TERMINATED_WITH_ERRORS"
            self.emr.life.end_now(self.cluster(job_flow_id), Reason(code, message), fails=fails)

    def replace_primary(self: _World, job_flow_id: str) -> None:
        """Give a cluster another primary instance, as EMR does with one that failed."""
        with self.lock:
            self.emr.life.replace_primary(self.cluster(job_flow_id))

    def fail_next_cluster(
        self: _World,
        *,
        state: str = "STARTING",
        code: str = "",
        message: str = "",
        after_seconds: float = 0.0,
        hangs: bool = False,
    ) -> None:
        """Make the next cluster that reaches a state fail there, or stay in it.

        :raises ValueError: See :class:`ClusterFault`.
        """
        self.faults.fail_next_cluster(
            ClusterFault(state=state, code=code, message=message, after_seconds=after_seconds, hangs=hangs)
        )

    def limit_capacity(self: _World, zone: str, *, instance_type: str | None = None, left: int = 0) -> None:
        """Limit how many more instances an Availability Zone has, of one type or of all, until it is restored.

        A cluster without a primary node ends. Core and task nodes are requested repeatedly while it is STARTING.

        :raises ValueError: For a zone that does not exist, or a negative number.
        """
        with self.lock:
            self.ec2(self.region).zones.limit(zone, instance_type=instance_type, left=left)

    def take_zone_down(self: _World, zone: str) -> None:
        """Terminate every instance of an Availability Zone, and start none there until it is restored.

        :raises ValueError: For a zone that does not exist.
        """
        with self.lock:
            ec2 = self.ec2(self.region)
            ec2.zones.take_down(zone)
            ec2.instances.lose(ec2.instances.in_zone(zone))

    def cut_zone(self: _World, zone: str) -> None:
        """Drop all packets to and from an Availability Zone until it is restored; its instances keep running.

        Connections to its nodes time out, their status checks are ``impaired``, and the nodes cannot reach the
        internet. The EMR and EC2 APIs answer as before.

        :raises ValueError: For a zone that does not exist.
        """
        with self.lock:
            self.ec2(self.region).zones.cut(zone)

    def lose_primary(self: _World, job_flow_id: str, *, emr_notices_after: float = 0.0) -> None:
        """Lose a cluster's primary node: its instance is terminated, and its address stops answering.

        :param emr_notices_after: seconds until EMR ends the cluster; until then its state does not change.
        :raises KeyError: If there is no such cluster.
        :raises ValueError: If it has no primary node now.
        """
        with self.lock:
            primary = self.cluster(job_flow_id).primary
            if primary is None:
                raise ValueError(f"cluster {job_flow_id!r} has no primary node now")
            self.ec2(self.region).instances.lose([primary], told_after=emr_notices_after)

    def impair(self: _World, instance_id: str, *, system: bool = True, instance: bool = True) -> None:
        """Make the status checks of an instance ``impaired``, or with both false ``ok`` again.

        :raises ValueError: If there is no such instance.
        """
        with self.lock:
            self.ec2(self.region).status_checks.impair(instance_id, system=system, instance=instance)

    def trouble_service(self: _World, job_flow_id: str, service: str, trouble: Trouble) -> None:
        """Make a service of a cluster's primary node fail until :meth:`mend_service` is called.

        :param service: ``yarn``, ``hdfs`` or ``livy``.
        :param trouble: ``hangs`` (accepts connections and never answers), ``errors`` (answers 500), ``refuses`` (has
            no process), ``safe-mode`` (HDFS), or ``ids-only`` (Livy: no lookup by name, as in older versions).
        :raises ValueError: If the service does not run there, or ``trouble`` is unknown.
        """
        with self.lock:
            self.services.trouble(job_flow_id, service, trouble)

    def mend_service(self: _World, job_flow_id: str, service: str) -> None:
        """Make a service work again.

        :raises ValueError: If it does not run there.
        """
        with self.lock:
            self.services.trouble(job_flow_id, service, None)

    def end_batch(self: _World, job_flow_id: str, batch: int | str, *, state: str = "killed") -> None:
        """End a Livy batch as ``killed``, ``dead`` or ``error``, as when its application is killed in YARN.

        :param batch: Its id or its name.
        :raises ValueError: If it does not exist or has ended, or for another state.
        """
        with self.lock:
            livy = self.services.find(job_flow_id).livy
            if livy is None:
                raise ValueError(f"cluster {job_flow_id!r} has no Livy: it is not among its Applications")
            livy.end(str(batch), state)

    def restore_zone(self: _World, zone: str) -> None:
        """Restore the capacity and the network of an Availability Zone.

        :raises ValueError: For a zone that does not exist.
        """
        with self.lock:
            self.ec2(self.region).zones.restore(zone)

    def interrupt_spot(self: _World, job_flow_id: str) -> None:
        """Interrupt the Spot Instance of a cluster's primary node, which ends the cluster.

        :raises KeyError: If there is no such cluster.
        :raises ValueError: If its primary node is not a running Spot Instance.
        """
        with self.lock:
            self.emr.life.interrupt_spot(self.cluster(job_flow_id))

    def remember(self: _World) -> None:
        """Start to record the state of EC2 and EMR, so that stale reads can be answered with it."""
        with self.lock:
            self.past.remember()

    def deny(self: _World, operation: str) -> None:
        """Deny an operation, including dry runs."""
        self.faults.deny(operation)

    def enforce(self: _World, document: Mapping[str, Any], *, access_key_id: str) -> None:
        """Restrict an access key to what an IAM policy document allows.

        :raises ValueError: For an unsupported element of the policy language.
        """
        with self.lock:
            self.permissions.enforce(document, access_key_id=access_key_id)

    def steal(self: _World, allocation_id: str) -> str:
        """Move an Elastic IP to an unrelated instance, as EC2 allows by default; return the instance id."""
        with self.lock:
            return self.ec2(self.region).steal(allocation_id)

    def add_classic_address(self: _World) -> str:
        """Allocate an address in the EC2-Classic domain, which AWS retired; return an id for it."""
        with self.lock:
            return str(self.ec2(self.region).addresses.allocate(domain="standard").allocation_id)
