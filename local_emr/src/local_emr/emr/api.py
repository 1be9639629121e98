"""EMR's API actions."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from moto.core.models import DEFAULT_ACCOUNT_ID

from local_emr.emr import views
from local_emr.emr.cluster import ENDED, OPEN, Cluster, Step
from local_emr.emr.life import USER_REQUEST, ClusterLife
from local_emr.emr.request import cluster_of, steps_of, tags_of
from local_emr.emr.validation import (
    check_auto_termination,
    check_idle_timeout,
    check_shape,
    check_step_count,
    invalid,
)
from local_emr.errors import AwsError

if TYPE_CHECKING:
    from local_emr.ec2.instances import Instances

Params = dict[str, Any]
PAGE = 50
MAX_STEP_IDS = 10


class Emr:
    """Answers EMR's API calls."""

    def __init__(self, life: ClusterLife, instances: Instances) -> None:
        self.life = life
        self._instances = instances
        self._security_configurations: dict[str, str] = {}
        # The default of an account created since July 2019 (EMR API Reference, BlockPublicAccessConfiguration).
        self._block_public_access: Params = {
            "BlockPublicSecurityGroupRules": True,
            "PermittedPublicSecurityGroupRuleRanges": [{"MinRange": 22, "MaxRange": 22}],
        }
        self._block_public_access_since = life.clock.now().timestamp()
        self._actions = {
            "RunJobFlow": self.run_job_flow,
            "DescribeCluster": self.describe_cluster,
            "ListClusters": self.list_clusters,
            "ListInstances": self.list_instances,
            "ListInstanceGroups": self.list_instance_groups,
            "ListInstanceFleets": self.list_instance_fleets,
            "ListBootstrapActions": self.list_bootstrap_actions,
            "AddJobFlowSteps": self.add_job_flow_steps,
            "ListSteps": self.list_steps,
            "DescribeStep": self.describe_step,
            "CancelSteps": self.cancel_steps,
            "TerminateJobFlows": self.terminate_job_flows,
            "SetTerminationProtection": self.set_termination_protection,
            "AddTags": self.add_tags,
            "RemoveTags": self.remove_tags,
            "GetAutoTerminationPolicy": self.get_auto_termination_policy,
            "PutAutoTerminationPolicy": self.put_auto_termination_policy,
            "RemoveAutoTerminationPolicy": self.remove_auto_termination_policy,
            "ModifyCluster": self.modify_cluster,
            "CreateSecurityConfiguration": self.create_security_configuration,
            "GetBlockPublicAccessConfiguration": self.get_block_public_access_configuration,
            "PutBlockPublicAccessConfiguration": self.put_block_public_access_configuration,
        }

    def answer(self, operation: str, params: Params) -> Params:
        """Answer a call.

        :raises AwsError: With EMR's error code; ``NotSimulated`` for an unsupported operation.
        """
        action = self._actions.get(operation)
        if action is None:
            raise AwsError(
                "NotSimulated", f"The local EMR does not simulate EMR's {operation}; it knows {sorted(self._actions)}."
            )
        check_shape(operation, params)
        return action(params)

    def run_job_flow(self, params: Params) -> Params:
        """Start a cluster; RunJobFlow is not idempotent."""
        cluster = cluster_of(params, now=self.life.clock.now(), instances=self._instances)
        cluster.needs_runtime_role = self._demands_runtime_role(params.get("SecurityConfiguration"))
        self.life.begin(cluster)
        self._enqueue(cluster, steps_of(params, now=self.life.clock.now()))
        return {"JobFlowId": cluster.id, "ClusterArn": views.arn(cluster)}

    def describe_cluster(self, params: Params) -> Params:
        """Show one cluster."""
        return {"Cluster": views.cluster_detail(self._cluster(params))}

    def list_clusters(self, params: Params) -> Params:
        """Show clusters, newest first."""
        states = params.get("ClusterStates")
        after, before = params.get("CreatedAfter"), params.get("CreatedBefore")
        everyone = self.life.newest_first()
        if marker := params.get("Marker"):
            # A marker stays valid when its cluster has changed state since.
            if self.life.find(marker) is None:
                raise _bad_request("Invalid marker.")
            everyone = itertools.dropwhile(lambda cluster: cluster.id != marker, everyone)
            next(everyone)
        found = (
            cluster
            for cluster in everyone
            if (not states or cluster.state in states)
            and (after is None or after <= cluster.created.timestamp())
            and (before is None or cluster.created.timestamp() <= before)
        )
        # One more than a page shows whether there is a next page; only the page itself is formatted.
        page = list(itertools.islice(found, PAGE + 1))
        more = {"Marker": page[PAGE - 1].id} if len(page) > PAGE else {}
        return {"Clusters": [views.cluster_summary(cluster) for cluster in page[:PAGE]], **more}

    def list_instances(self, params: Params) -> Params:
        """Show a cluster's instances by group, fleet and state."""
        cluster = self._cluster(params)
        fleet = cluster.collection == "INSTANCE_FLEET"
        if not fleet and ("InstanceFleetType" in params or "InstanceFleetId" in params):
            raise _bad_request("Instance fleets and instance groups are mutually exclusive; this cluster has groups.")
        if fleet and ("InstanceGroupTypes" in params or "InstanceGroupId" in params):
            raise _bad_request("Instance fleets and instance groups are mutually exclusive; this cluster has fleets.")
        roles = params.get("InstanceGroupTypes") or [params.get("InstanceFleetType")]
        pool_id = params.get("InstanceGroupId") or params.get("InstanceFleetId")
        states = params.get("InstanceStates")
        found = [
            views.instance(pool, node, fleet=fleet)
            for pool in cluster.pools
            for node in pool.nodes
            if (roles == [None] or pool.role in roles)
            and pool_id in {None, pool.id}
            and (not states or node.state in states)
        ]
        return _page(found, params, "Instances")

    def list_instance_groups(self, params: Params) -> Params:
        """Show a cluster's instance groups."""
        cluster = self._cluster(params, collection="INSTANCE_GROUP")
        return _page([views.instance_group(cluster, pool) for pool in cluster.pools], params, "InstanceGroups")

    def list_instance_fleets(self, params: Params) -> Params:
        """Show a cluster's instance fleets."""
        cluster = self._cluster(params, collection="INSTANCE_FLEET")
        return _page([views.instance_fleet(cluster, pool) for pool in cluster.pools], params, "InstanceFleets")

    def list_bootstrap_actions(self, params: Params) -> Params:
        """Show a cluster's bootstrap actions in order; at most 16, so always one page."""
        return {"BootstrapActions": list(map(views.bootstrap_action, self._cluster(params).bootstrap_actions))}

    def add_job_flow_steps(self, params: Params) -> Params:
        """Queue steps on a cluster that is not ending."""
        cluster = self._job_flow(params["JobFlowId"])
        if cluster.state not in OPEN:
            raise invalid("A job flow that is shutting down, terminated, or finished may not be modified.")
        if cluster.needs_runtime_role and "ExecutionRoleArn" not in params:
            raise invalid(
                "Runtime roles are required for this cluster. Please specify the role using ExecutionRoleArn."
            )
        check_step_count(len(params["Steps"]) + len(cluster.steps_in("PENDING", "RUNNING", "CANCEL_PENDING")))
        steps = steps_of(params, now=self.life.clock.now())
        self._enqueue(cluster, steps)
        return {"StepIds": [step.id for step in steps]}

    def list_steps(self, params: Params) -> Params:
        """Show steps, newest first."""
        cluster = self._cluster(params)
        ids, states = params.get("StepIds"), params.get("StepStates")
        if ids and states:
            raise _bad_request("Cannot specify both step ids and step states.")
        if ids and len(ids) > MAX_STEP_IDS:
            raise _bad_request(f"Cannot specify more than {MAX_STEP_IDS} step ids.")
        found = [
            views.step_summary(step)
            for step in reversed(cluster.steps)
            if (not ids or step.id in ids) and (not states or step.state in states)
        ]
        return _page(found, params, "Steps")

    def describe_step(self, params: Params) -> Params:
        """Show one step."""
        return {"Step": views.step_detail(self._step(self._cluster(params), params["StepId"]))}

    def cancel_steps(self, params: Params) -> Params:
        """Cancel steps, with either of EMR's two options for a running step."""
        cluster = self._cluster(params)
        infos = []
        for step_id in params["StepIds"]:
            step = self._step(cluster, step_id)
            if self.life.queue.cancel(cluster, step):
                infos.append({"StepId": step_id, "Status": "SUBMITTED"})
            else:
                reason = f"Step with state {step.state} can not be cancelled."
                infos.append({"StepId": step_id, "Status": "FAILED", "Reason": reason})
        return {"CancelStepsInfoList": infos}

    def terminate_job_flows(self, params: Params) -> Params:
        """Start to terminate clusters; protected ones are not terminated and make the call fail."""
        clusters = [self._job_flow(job_flow_id) for job_flow_id in params["JobFlowIds"]]
        protected = [c for c in clusters if c.termination_protected and c.state not in ENDED]
        for cluster in clusters:
            if cluster not in protected:
                self.life.terminate(cluster, USER_REQUEST)
        if protected:
            raise invalid("Could not shut down one or more job flows since they are termination protected.")
        return {}

    def set_termination_protection(self, params: Params) -> Params:
        """Set or remove termination protection."""
        for cluster in [self._job_flow(job_flow_id) for job_flow_id in params["JobFlowIds"]]:
            if cluster.state not in OPEN:
                raise invalid("A job flow that is shutting down, terminated, or finished may not be modified.")
            cluster.termination_protected = params["TerminationProtected"]
        return {}

    def add_tags(self, params: Params) -> Params:
        """Tag a cluster and its instances."""
        cluster = self._tagged(params)
        tags = tags_of(params, present=cluster.tags)
        cluster.tags.update(tags)
        for node in cluster.nodes():
            if node.instance is not None:
                self._instances.tag(node.instance, tags)
        return {}

    def remove_tags(self, params: Params) -> Params:
        """Remove tags from a cluster and its instances."""
        cluster = self._tagged(params)
        for key in params["TagKeys"]:
            cluster.tags.pop(key, None)
            for node in cluster.nodes():
                if node.instance is not None:
                    node.instance.ec2_backend.delete_tags([node.instance.id], {key: None})
        return {}

    def get_auto_termination_policy(self, params: Params) -> Params:
        """Show the idle timeout."""
        timeout = self._cluster(params).idle_timeout
        return {} if timeout is None else {"AutoTerminationPolicy": {"IdleTimeout": timeout}}

    def put_auto_termination_policy(self, params: Params) -> Params:
        """Set the idle timeout."""
        cluster = self._cluster(params)
        timeout = params.get("AutoTerminationPolicy", {}).get("IdleTimeout")
        check_idle_timeout(timeout)
        if timeout is not None:
            check_auto_termination(cluster.request.get("ReleaseLabel"), cluster.request.get("AmiVersion"))
        cluster.idle_timeout = timeout
        self.life.watch_idleness(cluster)
        return {}

    def remove_auto_termination_policy(self, params: Params) -> Params:
        """Remove the idle timeout."""
        cluster = self._cluster(params)
        cluster.idle_timeout = None
        self.life.watch_idleness(cluster)
        return {}

    def modify_cluster(self, params: Params) -> Params:
        """Change the step concurrency level."""
        cluster = self._cluster(params)
        cluster.step_concurrency = params.get("StepConcurrencyLevel", cluster.step_concurrency)
        self.life.queue.pump(cluster)
        return {"StepConcurrencyLevel": cluster.step_concurrency}

    def create_security_configuration(self, params: Params) -> Params:
        """Store a security configuration; only its runtime roles have an effect here."""
        name = params["Name"]
        if name in self._security_configurations:
            raise _bad_request(f"Security configuration with name '{name}' already exists.")
        self._security_configurations[name] = params["SecurityConfiguration"]
        return {"Name": name, "CreationDateTime": self.life.clock.now().timestamp()}

    def get_block_public_access_configuration(self, params: Params) -> Params:
        """Show the block public access configuration, which has no effect on launches here."""
        by = {
            "CreationDateTime": self._block_public_access_since,
            "CreatedByArn": f"arn:aws:iam::{DEFAULT_ACCOUNT_ID}:root",
        }
        return {
            "BlockPublicAccessConfiguration": self._block_public_access,
            "BlockPublicAccessConfigurationMetadata": by,
        }

    def put_block_public_access_configuration(self, params: Params) -> Params:
        """Change the block public access configuration."""
        self._block_public_access = params["BlockPublicAccessConfiguration"]
        self._block_public_access_since = self.life.clock.now().timestamp()
        return {}

    def _enqueue(self, cluster: Cluster, steps: list[Step]) -> None:
        self.life.queue.add(cluster, steps)

    def _demands_runtime_role(self, name: str | None) -> bool:
        if name is None:
            return False
        if name not in self._security_configurations:
            raise _bad_request(f"Security configuration with name '{name}' does not exist.")
        configuration = json.loads(self._security_configurations[name])
        iam = configuration.get("AuthorizationConfiguration", {}).get("IAMConfiguration", {})
        return bool(iam.get("EnableApplicationScopedIAMRole"))

    def _cluster(self, params: Params, *, collection: str | None = None) -> Cluster:
        cluster = self.life.find(params["ClusterId"])
        if cluster is None:
            raise _bad_request(f"Cluster id '{params['ClusterId']}' is not valid.")
        if collection not in {None, cluster.collection}:
            raise _bad_request("Instance fleets and instance groups are mutually exclusive.")
        return cluster

    def _job_flow(self, job_flow_id: str) -> Cluster:
        cluster = self.life.find(job_flow_id)
        if cluster is None:
            raise invalid(f"Specified job flow ID {job_flow_id} does not exist.")
        return cluster

    def _tagged(self, params: Params) -> Cluster:
        cluster = self.life.find(params["ResourceId"])
        if cluster is None:
            raise _bad_request(f"Resource '{params['ResourceId']}' does not exist.")
        return cluster

    def _step(self, cluster: Cluster, step_id: str) -> Step:
        for step in cluster.steps:
            if step.id == step_id:
                return step
        raise _bad_request(f"Step id '{step_id}' is not valid.")


def _bad_request(message: str) -> AwsError:
    return AwsError("InvalidRequestException", message)


def _page(found: list[Params], params: Params, name: str) -> Params:
    """Return one page of a listing; its marker is the id of its last entry."""
    begin = 0
    if marker := params.get("Marker"):
        ids = [entry["Id"] for entry in found]
        if marker not in ids:
            raise _bad_request("Invalid marker.")
        begin = ids.index(marker) + 1
    page = found[begin : begin + PAGE]
    more = {"Marker": page[-1]["Id"]} if len(found) > begin + PAGE else {}
    return {name: page, **more}
