"""EMR's responses, in the wire format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_emr.emr.cluster import ENDED

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from local_emr.emr.cluster import Cluster, Node, Pool, Reason, Step

View = dict[str, Any]
_COPIED = (
    "LogUri",
    "LogEncryptionKmsKeyId",
    "ReleaseLabel",
    "ServiceRole",
    "AutoScalingRole",
    "SecurityConfiguration",
    "CustomAmiId",
    "EbsRootVolumeSize",
    "ScaleDownBehavior",
    "Configurations",
    "OSReleaseLabel",
)


def cluster_summary(cluster: Cluster) -> View:
    """Show a cluster as ListClusters does."""
    return {
        "Id": cluster.id,
        "Name": cluster.request["Name"],
        "Status": _cluster_status(cluster),
        "NormalizedInstanceHours": 0,
        "ClusterArn": arn(cluster),
    }


def cluster_detail(cluster: Cluster) -> View:
    """Show a cluster as DescribeCluster does."""
    request = cluster.request
    view = {
        **cluster_summary(cluster),
        **{name: request[name] for name in _COPIED if name in request},
        "Ec2InstanceAttributes": _ec2_attributes(cluster),
        "InstanceCollectionType": cluster.collection,
        "Applications": request.get("Applications", []),
        "Tags": [{"Key": key, "Value": value} for key, value in cluster.tags.items()],
        "AutoTerminate": not cluster.keep_alive,
        "TerminationProtected": cluster.termination_protected,
        "VisibleToAllUsers": request.get("VisibleToAllUsers", True),
        "StepConcurrencyLevel": cluster.step_concurrency,
        "UnhealthyNodeReplacement": False,
    }
    if cluster.primary is not None:
        view["MasterPublicDnsName"] = cluster.primary.public_dns_name or cluster.primary.private_dns_name
    return view


def instance(pool: Pool, node: Node, *, fleet: bool) -> View:
    """Show a node as ListInstances does; without an EC2 id until it is assigned."""
    view: View = {
        "Id": node.id,
        "Status": {
            "State": node.state,
            "StateChangeReason": {},
            "Timeline": _timeline(CreationDateTime=node.created, ReadyDateTime=node.ready, EndDateTime=node.ended),
        },
        "InstanceFleetId" if fleet else "InstanceGroupId": pool.id,
        "Market": pool.market,
        "InstanceType": pool.instance_type,
        "EbsVolumes": [],
    }
    if node.instance is not None:
        view |= {
            "Ec2InstanceId": node.instance.id,
            "PrivateIpAddress": node.instance.private_ip_address,
            "PrivateDnsName": node.instance.private_dns_name,
        }
        if node.instance.public_ip:
            view |= {
                "PublicIpAddress": node.instance.public_ip,
                "PublicDnsName": node.instance.public_dns_name,
            }
    return view


def instance_group(cluster: Cluster, pool: Pool) -> View:
    """Show a pool as ListInstanceGroups does."""
    return {
        "Id": pool.id,
        "Name": pool.name,
        "Market": pool.market,
        "InstanceGroupType": pool.role,
        "InstanceType": pool.instance_type,
        "RequestedInstanceCount": len(pool.nodes),
        "RunningInstanceCount": _running(pool.nodes),
        "Status": _pool_status(cluster),
    }


def instance_fleet(cluster: Cluster, pool: Pool) -> View:
    """Show a pool as ListInstanceFleets does."""
    spot = pool.market == "SPOT"
    target, running = len(pool.nodes), _running(pool.nodes)
    return {
        "Id": pool.id,
        "Name": pool.name,
        "InstanceFleetType": pool.role,
        "Status": _pool_status(cluster),
        "TargetOnDemandCapacity": 0 if spot else target,
        "TargetSpotCapacity": target if spot else 0,
        "ProvisionedOnDemandCapacity": 0 if spot else running,
        "ProvisionedSpotCapacity": running if spot else 0,
        "InstanceTypeSpecifications": [
            {"InstanceType": config["InstanceType"], "WeightedCapacity": config.get("WeightedCapacity", 1)}
            for config in pool.request.get("InstanceTypeConfigs", [])
        ],
    }


def bootstrap_action(request: View) -> View:
    """Show a bootstrap action as ListBootstrapActions does."""
    script = request["ScriptBootstrapAction"]
    return {"Name": request["Name"], "ScriptPath": script["Path"], "Args": list(script.get("Args", ()))}


def node_info(cluster: Cluster, pool: Pool) -> View:
    """Return the files of a node in ``/mnt/var/lib/info``: file name → content."""
    is_master = pool.role == "MASTER"
    single = sum(1 for _ in cluster.nodes()) == 1
    fleet = cluster.collection == "INSTANCE_FLEET"
    workers = [other for other in cluster.pools if other.role != "MASTER"]
    primary = cluster.primary
    return {
        "instance.json": {
            "instanceFleetId" if fleet else "instanceGroupId": pool.id,
            "isMaster": is_master,
            "isRunningNameNode": is_master,
            "isRunningDataNode": pool.role == "CORE" or single,
            "isRunningJobTracker": is_master,
            "isRunningTaskTracker": not is_master or single,
            "isRunningResourceManager": is_master,
            "isRunningNodeManager": not is_master or single,
        },
        "job-flow.json": {
            "jobFlowId": cluster.id,
            "jobFlowCreationInstant": int(cluster.created.timestamp() * 1000),
            "instanceCount": sum(len(other.nodes) for other in cluster.pools),
            "masterInstanceId": primary.id if primary else None,
            "masterPrivateDnsName": primary.private_dns_name if primary else None,
            "masterInstanceType": cluster.primary_pool.instance_type,
            **({"slaveInstanceType": workers[0].instance_type} if workers else {}),
            "instanceGroups": [
                {
                    "instanceGroupId": other.id,
                    "instanceGroupName": other.name,
                    "instanceRole": other.role.title(),
                    "marketType": "Spot" if other.market == "SPOT" else "OnDemand",
                    "instanceType": other.instance_type,
                    "requestedInstanceCount": len(other.nodes),
                }
                for other in cluster.pools
            ],
        },
    }


def step_summary(step: Step) -> View:
    """Show a step as ListSteps does."""
    jar = step.request["HadoopJarStep"]
    status: View = {
        "State": step.state,
        "StateChangeReason": {"Message": step.reason.message} if step.reason.message else {},
        "Timeline": _timeline(CreationDateTime=step.created, StartDateTime=step.started, EndDateTime=step.ended),
    }
    if step.state == "FAILED" and step.result is not None:
        details = {"Reason": step.result.reason, "Message": step.result.message, "LogFile": step.result.log_file}
        status["FailureDetails"] = {name: value for name, value in details.items() if value is not None}
    return {
        "Id": step.id,
        "Name": step.name,
        "Config": {
            "Jar": jar["Jar"],
            "Properties": {item["Key"]: item.get("Value", "") for item in jar.get("Properties", ())},
            "Args": list(jar.get("Args", ())),
            **({"MainClass": jar["MainClass"]} if "MainClass" in jar else {}),
        },
        "ActionOnFailure": step.action_on_failure,
        "Status": status,
    }


def step_detail(step: Step) -> View:
    """Show a step as DescribeStep does."""
    role = {"ExecutionRoleArn": step.execution_role_arn} if step.execution_role_arn else {}
    return {**step_summary(step), **role}


def arn(cluster: Cluster) -> str:
    """Return a cluster's ARN."""
    region = cluster.subnet.ec2_backend.region_name
    return f"arn:aws:elasticmapreduce:{region}:{cluster.subnet.owner_id}:cluster/{cluster.id}"


def _cluster_status(cluster: Cluster) -> View:
    status: View = {
        "State": cluster.state,
        "StateChangeReason": _reason(cluster.reason),
        "Timeline": _timeline(CreationDateTime=cluster.created, ReadyDateTime=cluster.ready, EndDateTime=cluster.ended),
    }
    if cluster.state in ENDED and cluster.fails:
        reason = cluster.reason
        status["ErrorDetails"] = [
            {
                "ErrorCode": reason.error_code or reason.code,
                "ErrorMessage": reason.message,
                "ErrorData": [{name: value} for name, value in reason.error_data],
            }
        ]
    return status


def _ec2_attributes(cluster: Cluster) -> View:
    instances = cluster.request["Instances"]
    view = {
        "Ec2SubnetId": cluster.subnet.id,
        "RequestedEc2SubnetIds": instances.get("Ec2SubnetIds") or [cluster.subnet.id],
        "Ec2AvailabilityZone": cluster.subnet.availability_zone,
        "RequestedEc2AvailabilityZones": [],
        "IamInstanceProfile": cluster.request.get("JobFlowRole"),
        "Ec2KeyName": instances.get("Ec2KeyName"),
        "EmrManagedMasterSecurityGroup": instances.get("EmrManagedMasterSecurityGroup"),
        "EmrManagedSlaveSecurityGroup": instances.get("EmrManagedSlaveSecurityGroup"),
        "ServiceAccessSecurityGroup": instances.get("ServiceAccessSecurityGroup"),
        "AdditionalMasterSecurityGroups": instances.get("AdditionalMasterSecurityGroups", []),
        "AdditionalSlaveSecurityGroups": instances.get("AdditionalSlaveSecurityGroups", []),
    }
    return {name: value for name, value in view.items() if value is not None}


def _pool_status(cluster: Cluster) -> View:
    states = {"STARTING": "PROVISIONING", "WAITING": "RUNNING", "TERMINATED_WITH_ERRORS": "TERMINATED"}
    return {
        "State": states.get(cluster.state, cluster.state),
        "StateChangeReason": {},
        "Timeline": _timeline(CreationDateTime=cluster.created, ReadyDateTime=cluster.ready, EndDateTime=cluster.ended),
    }


def _running(nodes: Iterable[Node]) -> int:
    return sum(node.instance is not None and node.instance.state == "running" for node in nodes)


def _reason(reason: Reason) -> View:
    view = {"Code": reason.code, "Message": reason.message}
    return {name: value for name, value in view.items() if value is not None}


def _timeline(**moments: datetime | None) -> dict[str, float]:
    return {name: moment.timestamp() for name, moment in moments.items() if moment is not None}
