"""What AWS can be made to do: end clusters, take machines and zones away, fail services, refuse calls."""

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
    """What all of this is done to."""

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
    """The part of :class:`local_emr.LocalAws` that makes things happen which AWS does by itself."""

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
        """Let the next cluster that reaches a state fail there, or stay there for ever.

        :raises ValueError: As :class:`ClusterFault` has it.
        """
        self.faults.fail_next_cluster(
            ClusterFault(state=state, code=code, message=message, after_seconds=after_seconds, hangs=hangs)
        )

    def limit_capacity(self: _World, zone: str, *, instance_type: str | None = None, left: int = 0) -> None:
        """Let an Availability Zone have so many instances left, of a type or of all of them, until it is restored.

        A primary node that gets none ends its cluster. Core and task nodes are asked for again and again, in STARTING.

        :raises ValueError: For a zone that does not exist, or a negative number.
        """
        with self.lock:
            self.ec2(self.region).zones.limit(zone, instance_type=instance_type, left=left)

    def take_zone_down(self: _World, zone: str) -> None:
        """Lose every instance of an Availability Zone, and start none there until it is restored.

        :raises ValueError: For a zone that does not exist.
        """
        with self.lock:
            ec2 = self.ec2(self.region)
            ec2.zones.take_down(zone)
            ec2.instances.lose(ec2.instances.in_zone(zone))

    def cut_zone(self: _World, zone: str) -> None:
        """Let no packet reach an Availability Zone or leave it until it is restored; its instances go on.

        Connections to its nodes' addresses time out, their status checks are ``impaired``, and nothing there reaches
        the internet. EMR and EC2 answer as before.

        :raises ValueError: For a zone that does not exist.
        """
        with self.lock:
            self.ec2(self.region).zones.cut(zone)

    def lose_primary(self: _World, job_flow_id: str, *, emr_notices_after: float = 0.0) -> None:
        """Lose the machine of a cluster's primary node: its instance is terminated, and its address answers nothing.

        :param emr_notices_after: EMR ends the cluster so many seconds later; until then it looks well.
        :raises KeyError: If there is no such cluster.
        :raises ValueError: If it has no primary node now.
        """
        with self.lock:
            primary = self.cluster(job_flow_id).primary
            if primary is None:
                raise ValueError(f"cluster {job_flow_id!r} has no primary node now")
            self.ec2(self.region).instances.lose([primary], told_after=emr_notices_after)

    def impair(self: _World, instance_id: str, *, system: bool = True, instance: bool = True) -> None:
        """Let the status checks of an instance be ``impaired``, or with both false be good again.

        :raises ValueError: If there is no such instance.
        """
        with self.lock:
            self.ec2(self.region).status_checks.impair(instance_id, system=system, instance=instance)

    def trouble_service(self: _World, job_flow_id: str, service: str, trouble: Trouble) -> None:
        """Let a service of a cluster's primary node fail until it is mended.

        :param service: ``yarn``, ``hdfs`` or ``livy``.
        :param trouble: ``hangs`` (accepts connections and never answers), ``errors`` (answers 500), ``refuses`` (has
            no process), ``safe-mode`` (of HDFS), or ``ids-only`` (of Livy: finds no batch by its name, as older ones).
        :raises ValueError: If the service does not run there, or there is no such trouble.
        """
        with self.lock:
            self.services.trouble(job_flow_id, service, trouble)

    def mend_service(self: _World, job_flow_id: str, service: str) -> None:
        """Let a service work again.

        :raises ValueError: If it does not run there.
        """
        with self.lock:
            self.services.trouble(job_flow_id, service, None)

    def end_batch(self: _World, job_flow_id: str, batch: int | str, *, state: str = "killed") -> None:
        """Let a batch of Livy end ``killed``, ``dead`` or in ``error``, as when its application is killed in YARN.

        :param batch: Its id or its name.
        :raises ValueError: If it is not there or has ended, or for another state.
        """
        with self.lock:
            livy = self.services.find(job_flow_id).livy
            if livy is None:
                raise ValueError(f"cluster {job_flow_id!r} has no Livy: it is not among its Applications")
            livy.end(str(batch), state)

    def restore_zone(self: _World, zone: str) -> None:
        """Let an Availability Zone have instances of every type again, and a network.

        :raises ValueError: For a zone that does not exist.
        """
        with self.lock:
            self.ec2(self.region).zones.restore(zone)

    def interrupt_spot(self: _World, job_flow_id: str) -> None:
        """Let EC2 take the Spot Instance of a cluster's primary node back, which ends the cluster.

        :raises KeyError: If there is no such cluster.
        :raises ValueError: If its primary node is not a running Spot Instance.
        """
        with self.lock:
            self.emr.life.interrupt_spot(self.cluster(job_flow_id))

    def remember(self: _World) -> None:
        """Remember from now on what the state of EC2 and EMR is, so that a stale read can be answered with it."""
        with self.lock:
            self.past.remember()

    def deny(self: _World, operation: str) -> None:
        """Take away the permission to call an operation, dry runs included."""
        self.faults.deny(operation)

    def enforce(self: _World, document: Mapping[str, Any], *, access_key_id: str) -> None:
        """Let an access key do from now on what an IAM policy document allows, and nothing else.

        :raises ValueError: For what of the policy language is not evaluated here.
        """
        with self.lock:
            self.permissions.enforce(document, access_key_id=access_key_id)

    def steal(self: _World, allocation_id: str) -> str:
        """Move an Elastic IP to an instance of a thief's, as EC2 allows by default; return the instance id."""
        with self.lock:
            return self.ec2(self.region).steal(allocation_id)

    def add_classic_address(self: _World) -> str:
        """Allocate an address in the EC2-Classic domain, which AWS retired; return an id for it."""
        with self.lock:
            return str(self.ec2(self.region).addresses.allocate(domain="standard").allocation_id)
