"""The address of a task when ``allocation_id`` may name several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_eip_provider.airflow_compat import own_xcom
from airflow_eip_provider.hooks.address_pool import followed_address, names_pool, read_pool
from airflow_eip_provider.links.eip import ElasticIpLink
from airflow_eip_provider.literals import parse_literal
from airflow_eip_provider.operators.lease_settings import lock_store_uri
from airflow_eip_provider.rendered import is_nothing

if TYPE_CHECKING:
    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.hooks.aws import AwsHooks


class Addressed:
    """
    The address of a task; a base of every operator.

    A task that works on a cluster or an instance uses the address of this resource. A task that acquires an address
    chooses it: see :class:`~airflow_eip_provider.operators.leasing.LeasingOperator`.
    """

    gives_back: ClassVar[bool] = False  # the task ends the use of an address, which may be gone already

    # The address once it is known; until then the rendered parameter, which may name several.
    allocation_id: Any
    lock_store: Any
    _named_several = False
    _named: Any = None  # ``allocation_id`` as it was rendered

    @property
    def aws(self) -> AwsHooks:
        """The AWS hooks of the task's connection."""
        raise NotImplementedError

    def follow_address(self) -> None:
        """Find the address of the task's cluster if ``allocation_id`` names several."""
        if not names_pool(self.allocation_id):
            return
        self._named_several = True
        self.allocation_id = followed_address(
            self.allocation_id,
            resource_id=self.followed_resource,
            aws=self.aws,
            lock_store=lock_store_uri(self.lock_store),
            gives_back=self.gives_back,
        )

    @property
    def has_address(self) -> bool:
        """Whether the task has an address: if several are named, its cluster or instance may have none."""
        return not (self._named_several and self.allocation_id is None)

    @property
    def named_addresses(self) -> list[str]:
        """The task's address, or all that it may be; empty if the parameter rendered to nothing."""
        if self.has_address and is_nothing(self.allocation_id):
            return []
        if isinstance(self.allocation_id, str) and not names_pool(self.allocation_id):
            return [self.allocation_id]
        if is_nothing(self._named):
            return []
        named = read_pool(self._named, self.aws)
        return [named] if isinstance(named, str) else list(named)

    @property
    def address_text(self) -> str:
        """The address or addresses as text; empty if the clusters are reached through a load balancer only."""
        named = self._named if self.allocation_id is None else self.allocation_id
        if isinstance(parsed := parse_literal(named), (list, tuple, set, frozenset)):
            return ", ".join(map(str, parsed))
        return "" if named is None else str(named)

    @property
    def followed_resource(self) -> Any:
        """The cluster or the instance whose address the task uses."""
        return getattr(self, "job_flow_id", None)

    def restore_address(self, context: Context, state: Any) -> None:
        """Continue with the address that an earlier phase found."""
        if state.allocation_id is not None:
            self._named_several, self.allocation_id = True, state.allocation_id or None
        elif names_pool(self.allocation_id) and (linked := own_xcom(context, ElasticIpLink.key)):
            # The parameter named one address when this try began: the DAG has changed since.
            self._named_several, self.allocation_id = True, linked["allocation_id"]
            state.allocation_id = self.allocation_id
