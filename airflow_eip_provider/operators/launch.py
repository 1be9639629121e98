"""Launching one cluster per owner, although RunJobFlow has no idempotency token."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.aws.clusters import read_tagged_clusters
from airflow_eip_provider.aws.errors import is_expired, is_transient, was_throttled
from airflow_eip_provider.aws.start_failures import refused_parameters, refused_start
from airflow_eip_provider.aws.tags import (
    ALLOCATION_TAG,
    OWNER_DIGEST_TAG,
    SUCCESSOR_TAG,
    TOKEN_TAG,
    TRY_TAG,
    as_items,
)
from airflow_eip_provider.exceptions import InvalidInputError, LaunchUnclearError
from airflow_eip_provider.releases import auto_termination

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from airflow_eip_provider.hooks.aws import AwsHooks
    from airflow_eip_provider.operators.owner import Owner

log = logging.getLogger(__name__)

# ListClusters may lag behind a RunJobFlow whose answer was lost; AWS does not document for how long. Two minutes here.
_UNCLEAR_DELAYS = (0, 5, 10, 15, 30, 60)


class Launcher:
    """
    Launches the cluster of one owner.

    :param config: the parameters of RunJobFlow without tags and auto-termination policy.
    :param idle_timeout: left out for EMR releases that do not support it; ``None`` for none.
    :param tags: the tags of the cluster besides its owner's.
    :param created_after: no try of the owner launched anything before this time, in seconds since the epoch.
    :ivar is_unclear: RunJobFlow was sent, and neither its answer nor its cluster is known.
    :ivar answered: the cluster that RunJobFlow's last answer named, until it is processed.
    """

    def __init__(
        self,
        aws: AwsHooks,
        *,
        config: Mapping[str, Any],
        owner: Owner,
        idle_timeout: timedelta | None,
        tags: Mapping[str, str],
        created_after: float = 0.0,
    ) -> None:
        self.is_unclear = False
        self.answered: str | None = None
        self.created_after = created_after
        self._aws = aws
        self._owner = owner
        self._idle_timeout = idle_timeout
        self.config: dict[str, Any] = {}
        self.choose(config, tags=tags)

    def choose(self, config: Mapping[str, Any], *, tags: Mapping[str, str]) -> None:
        """Set the parameters of the next launch; see the class."""
        self._tags = dict(tags)
        self.config = dict(config)
        self.config.setdefault("Name", f"{self._owner.dag_id}.{self._owner.task_id}")
        if self._idle_timeout is not None and auto_termination(self.config) != "none":
            self.config.setdefault("AutoTerminationPolicy", {"IdleTimeout": int(self._idle_timeout.total_seconds())})

    def launch(self, *, try_number: int, allocation_id: str | None, token: int | None = None) -> str:
        """
        Launch the cluster and return its ID.

        :param allocation_id: the address that it is launched for; ``None`` if it is reached through a load balancer
            only.
        :param token: the fencing token of the lease that it is launched under.
        :raises InvalidInputError: when EMR refuses the parameters, and would refuse a retry.
        :raises LaunchUnclearError: when RunJobFlow gave no clear answer, and EMR shows no such cluster.
        """
        owner_tags = self._owner.tags(allocation_id=allocation_id)
        tags = {**owner_tags, **self._tags, TRY_TAG: str(try_number)}
        if token is not None:
            tags[TOKEN_TAG] = str(token)
        config = {**self.config, "Tags": [*self.config.get("Tags", []), *as_items(tags)]}
        self.is_unclear = True  # also when a timeout or a kill interrupts the request
        try:
            launched = str(self._aws.emr.conn_without_retries.run_job_flow(**config)["JobFlowId"])
            self.answered = launched
        except Exception as error:
            if not is_transient(error) or was_throttled(error) or refused_start(error):
                # An error that is not botocore's came from a signal, and does not tell the outcome of the request.
                self.is_unclear = not isinstance(error, (ClientError, BotoCoreError))
                if refused_parameters(error):
                    raise self._refused(error) from error
                raise
            launched = self._search(owner_tags, token, unclear=error)
        self.is_unclear = False
        return launched

    def _refused(self, error: Exception) -> InvalidInputError:
        """Return the error for parameters that EMR refuses."""
        return InvalidInputError(
            f"launching cluster '{self.config['Name']}'",
            problem=f"EMR refuses its parameters: {error}",
            remedy="correct job_flow_overrides, or the account's settings that EMR names; no cluster was launched",
        )

    def _search(self, owner_tags: Mapping[str, str], token: int | None, *, unclear: Exception) -> str:
        """
        Search for the cluster of a launch without an answer.

        Errors of the search are logged and ignored: RunJobFlow was sent, so the caller must not conclude from them that
        nothing was launched, and send it again.

        :raises LaunchUnclearError: when EMR does not show the cluster.
        """
        log.warning("RunJobFlow gave no clear answer; searching for its cluster: %s", unclear)
        problem = f"{type(unclear).__name__}: {unclear}"
        all_tags = {**owner_tags, **self._tags}
        names = (OWNER_DIGEST_TAG, ALLOCATION_TAG, SUCCESSOR_TAG)
        tags = {name: all_tags[name] for name in names if name in all_tags}
        if token is not None:
            tags[TOKEN_TAG] = str(token)
        for delay in _UNCLEAR_DELAYS:
            clock.sleep(delay)
            try:
                if clusters := read_tagged_clusters(self._aws.emr.conn, tags=tags, created_after=self.created_after):
                    return clusters[0].job_flow_id
            except Exception as error:
                log.warning("The search for the cluster failed; it may still exist: %s", error)
                if is_expired(error):
                    self._aws.renew()
        raise LaunchUnclearError(self.config["Name"], owner=str(self._owner), problem=problem) from unclear
