"""
Which try continues with the steps or the batch of an earlier one, in a tag of their cluster.

A try whose process was suspended may end after a newer try has adopted its work, and would then cancel it. The older
try cannot ask Airflow, which refuses its requests, and without a lock store there is no record. So the newer try writes
its number into a tag, and an older one reads it before it cancels.

All tasks of a cluster share the tag, because EMR allows 50 tags. Its value has one entry for each task, ``DIGEST.TRY``,
the newest first; what does not fit is left out. The tag only prevents an unnecessary cancellation: without it (tags may
lag for a minute, two tasks may write it at once, the role may not be allowed to) the older try cancels, and the newer
one fails and is retried. A DAG run that is deleted and created again with the same run ID begins again at try 1; on the
same cluster, its tries up to the number in the tag leave their steps running when they are killed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from airflow_eip_provider.aws.tags import ADOPTERS_TAG

if TYPE_CHECKING:
    from airflow_eip_provider.hooks.emr import EmrClusterHook
    from airflow_eip_provider.operators.batch_mark import BatchMark
    from airflow_eip_provider.operators.emr.submitted import StepMark

log = logging.getLogger(__name__)

_MOST_ENTRIES = 14  # of 17 characters; a value has at most 256


def note_adoption(emr: EmrClusterHook, job_flow_id: str, mark: StepMark | BatchMark) -> None:
    """Write into the tag of the cluster that this try has adopted what an earlier try submitted."""
    from airflow_eip_provider.aws.tags import as_items

    try:
        cluster = emr.get_cluster(job_flow_id)
        tries = _tries_of(cluster.tags.get(ADOPTERS_TAG, "") if cluster is not None else "")
        newest = {mark.owner: max(mark.try_number, tries.pop(mark.owner, 0)), **tries}
        entries = [f"{owner}.{number}" for owner, number in newest.items()]
        tags = as_items({ADOPTERS_TAG: " ".join(entries[:_MOST_ENTRIES])})
        emr.conn.add_tags(ResourceId=job_flow_id, Tags=tags)
    except (BotoCoreError, ClientError) as error:
        log.warning(
            "Cluster %s gets no tag %s (%s): an earlier try of this task that is still running may cancel what this "
            "try continues with",
            job_flow_id,
            ADOPTERS_TAG,
            error,
        )


def is_adopted(emr: EmrClusterHook, job_flow_id: str, mark: StepMark | BatchMark) -> bool:
    """
    Whether a newer try has adopted what this try, or an earlier one, submitted.

    ``False`` when the tag cannot be read within seconds: work that no task watches must not continue.
    """
    try:
        tries = _tries_of(emr.read_tags_promptly(job_flow_id).get(ADOPTERS_TAG, ""))
    except Exception as error:
        log.warning("The tags of cluster %s, which name a newer try, cannot be read: %s", job_flow_id, error)
        return False
    newest = tries.get(mark.owner, 0)
    if newest > mark.try_number:
        log.info("Try %s of this task continues with what this try submitted; it is not cancelled", newest)
    return newest > mark.try_number


def _tries_of(value: str) -> dict[str, int]:
    """Return the newest try by the digest of its task."""
    entries = (entry.rpartition(".") for entry in value.split())
    return {owner: int(number) for owner, _, number in entries if number.isdecimal()}
