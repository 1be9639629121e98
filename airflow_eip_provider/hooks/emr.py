"""Additions to the stock EMR hook: requests that are sent at most once, and a termination that always works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.emr import EmrHook
from botocore.config import Config
from botocore.exceptions import ClientError

from airflow_eip_provider.airflow_compat import AirflowNotFoundException
from airflow_eip_provider.aws.errors import error_code
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.hooks.eip import StrictConnectionMixin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.aws.clusters import Cluster


class EmrClusterHook(StrictConnectionMixin, EmrHook):
    """The stock EMR hook with typed clusters and steps; its changes are idempotent where EMR allows it."""

    def get_cluster(self, job_flow_id: str) -> Cluster | None:
        """Return the cluster; ``None`` when EMR does not know it (elasticmapreduce:DescribeCluster)."""
        from airflow_eip_provider.aws.clusters import read_cluster

        return read_cluster(self.conn, job_flow_id)

    def merged_overrides(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return the request of RunJobFlow: the extra of the EMR connection, with these overrides.

        As in the stock hook, an EMR connection that does not exist counts as empty; it has no credentials.
        """
        base: dict[str, Any] = {}
        if self.emr_conn_id:
            try:
                base = EmrHook.get_connection(self.emr_conn_id).extra_dejson
            except AirflowNotFoundException:
                self.log.info("No EMR connection '%s': starting from an empty configuration", self.emr_conn_id)
        if not isinstance(base, dict):
            raise InvalidInputError(
                f"reading the extra of Airflow connection '{self.emr_conn_id}'",
                problem=f"it is {type(base).__name__}, not a JSON object",
                remedy="give RunJobFlow's parameters there, or emr_conn_id=None",
            )
        return {**base, **overrides}

    def submit_steps(self, job_flow_id: str, steps: Sequence[Mapping[str, Any]], **options: Any) -> list[str]:
        """
        Submit steps and return their IDs; the request is sent at most once (elasticmapreduce:AddJobFlowSteps).

        AddJobFlowSteps has no idempotency token: a second request would run the steps twice.
        """
        response = self.conn_without_retries.add_job_flow_steps(JobFlowId=job_flow_id, Steps=list(steps), **options)
        return list(response["StepIds"])

    @property
    def conn_without_retries(self) -> Any:
        """
        A client that sends each request at most once (elasticmapreduce:RunJobFlow, iam:PassRole).

        RunJobFlow has no idempotency token: botocore's retry after a lost response would launch a second cluster.
        """
        once = self._get_config().merge(Config(retries={"total_max_attempts": 1}))
        return self.get_client_type(region_name=self.region_name, config=once)

    def read_tags_promptly(self, job_flow_id: str) -> dict[str, str]:
        """
        Return the tags of a cluster, or raise an error within seconds: for a task that is about to be killed.

        (elasticmapreduce:DescribeCluster)
        """
        from airflow_eip_provider.aws.tags import tags_of

        prompt = Config(connect_timeout=1, read_timeout=1.5, retries={"total_max_attempts": 1})
        conn = self.get_client_type(region_name=self.region_name, config=self._get_config().merge(prompt))
        return tags_of(conn.describe_cluster(ClusterId=job_flow_id)["Cluster"].get("Tags"))

    def cancel_steps(self, job_flow_id: str, *, step_ids: Sequence[str]) -> None:
        """
        Cancel steps, including running ones (elasticmapreduce:CancelSteps).

        EMR ignores steps that have ended, so nothing is read first.
        """
        from airflow_eip_provider.aws.clusters import UNKNOWN_CLUSTER

        if not step_ids:
            return
        self.log.info("Cancelling steps %s of cluster %s, if they have not ended", ", ".join(step_ids), job_flow_id)
        try:
            self.conn.cancel_steps(
                ClusterId=job_flow_id, StepIds=list(step_ids), StepCancellationOption="TERMINATE_PROCESS"
            )
        except ClientError as error:
            if error_code(error) not in UNKNOWN_CLUSTER:
                raise
            self.log.info("Cluster %s can no longer cancel steps: %s", job_flow_id, error)

    def end(self, job_flow_id: str) -> bool:
        """Terminate a cluster, also a protected one; ``False`` when EMR does not know it. See ``endings.end``."""
        from airflow_eip_provider.aws import endings

        return endings.end(self.conn, job_flow_id)
