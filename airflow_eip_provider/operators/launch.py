"""Launching a cluster once for an owner, although RunJobFlow has no idempotency token."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.aws.clusters import read_tagged_clusters
from airflow_eip_provider.aws.errors import is_expired, is_transient, was_throttled
from airflow_eip_provider.aws.start_failures import refused_start
from airflow_eip_provider.aws.tags import (
    ALLOCATION_TAG,
    OWNER_DIGEST_TAG,
    SUCCESSOR_TAG,
    TOKEN_TAG,
    TRY_TAG,
    as_items,
)
from airflow_eip_provider.exceptions import LaunchUnclearError
from airflow_eip_provider.releases import auto_termination

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from airflow_eip_provider.hooks.aws import AwsHooks
    from airflow_eip_provider.operators.owner import Owner

log = logging.getLogger(__name__)

# ListClusters and tags may lag behind a RunJobFlow whose answer was lost; for how long is not documented. Two minutes.
_UNCLEAR_DELAYS = (0, 5, 10, 15, 30, 60)


class Launcher:
    """
    One owner's cluster.

    :param config: what RunJobFlow is to be sent, before tags and the net of an idle timeout are added.
    :param idle_timeout: left out for a release that has no such thing; ``None`` asks for none.
    :param tags: of the cluster, besides its owner's.
    :param created_after: seconds since the epoch, before which no try of the owner launched anything.
    :ivar is_unclear: whether RunJobFlow was sent and neither its answer nor its cluster is known.
    :ivar answered: the cluster that RunJobFlow's last answer named, until it is taken note of.
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
        """Launch the next cluster in another way; parameters as of the class."""
        self._tags = dict(tags)
        self.config = dict(config)
        self.config.setdefault("Name", f"{self._owner.dag_id}.{self._owner.task_id}")
        if self._idle_timeout is not None and auto_termination(self.config) != "none":
            self.config.setdefault("AutoTerminationPolicy", {"IdleTimeout": int(self._idle_timeout.total_seconds())})

    def launch(self, *, try_number: int, allocation_id: str | None, token: int | None = None) -> str:
        """
        Launch the cluster and return its id.

        :param allocation_id: of the address that it is launched for; ``None`` where only a load balancer leads to it.
        :param token: of the lease that it is launched under.
        :raises LaunchUnclearError: when RunJobFlow gave no clear answer and no such cluster shows up.
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
                # What is not of botocore came from a signal, and says nothing about the request.
                self.is_unclear = not isinstance(error, (ClientError, BotoCoreError))
                raise
            launched = self._search(owner_tags, token, unclear=error)
        self.is_unclear = False
        return launched

    def _search(self, owner_tags: Mapping[str, str], token: int | None, *, unclear: Exception) -> str:
        """
        Look for the cluster of a launch without an answer.

        Whatever a look fails with counts as no answer. RunJobFlow was sent: the caller must not take the error for one
        of a launch that never happened, and send it again.

        :raises LaunchUnclearError: when the cluster does not show up.
        """
        log.warning("RunJobFlow gave no clear answer, looking for its cluster: %s", unclear)
        problem = f"{type(unclear).__name__}: {unclear}"
        known = {**owner_tags, **self._tags}
        tags = {name: known[name] for name in (OWNER_DIGEST_TAG, ALLOCATION_TAG, SUCCESSOR_TAG) if name in known}
        if token is not None:
            tags[TOKEN_TAG] = str(token)
        for delay in _UNCLEAR_DELAYS:
            clock.sleep(delay)
            try:
                if found := read_tagged_clusters(self._aws.emr.conn, tags=tags, created_after=self.created_after):
                    return found[0].job_flow_id
            except Exception as unanswered:
                log.warning("Looking for the cluster failed; it may still exist: %s", unanswered)
                if is_expired(unanswered):
                    self._aws.renew()
        raise LaunchUnclearError(self.config["Name"], owner=str(self._owner), problem=problem) from unclear
