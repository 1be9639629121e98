"""Commands as people have them, with the files that they name."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUBNET = "subnet-0123456789abcdef0"
GROUPS = ("sg-0123456789abcdef0", "sg-0123456789abcdef1", "sg-0123456789abcdef2")
ALLOCATION = "eipalloc-0123456789abcdef0"
PARAMETERS = {
    "clusterFunctionTagValue": "Signals",
    "clusterVPCID": "vpc-0123456789abcdef0",
    "allocationID": ALLOCATION,
}
# The script of its bootstrap action: it fetches a program with its parameters, and runs it.
ASSOCIATING_SCRIPT = """\
#!/bin/bash
sudo aws configure set default.region eu-west-1
sudo aws s3 cp  s3://signals/internetprotocol-jar-with-dependencies.jar /home/hadoop/
sudo aws s3 cp  s3://signals/parametersValues.json /home/hadoop/

cd /home/hadoop/
java -jar internetprotocol-jar-with-dependencies.jar
"""


@dataclass(frozen=True)
class Command:
    """A command, and the JSON files that it names."""

    text: str
    files: dict[str, Any] = field(default_factory=dict)

    def write(self, directory: Path, *, ids: Mapping[str, str] | None = None) -> Path:
        """
        Write the command and its files into a directory; return where the command is.

        :param ids: what to write instead of ids that do not exist.
        """
        texts = {name: json.dumps(content, indent=2) for name, content in self.files.items()}
        for name, text in {**texts, "launch.sh": self.text}.items():
            written = functools.reduce(lambda said, pair: said.replace(*pair), (ids or {}).items(), text)
            (directory / name).write_text(written)
        return directory / "launch.sh"


PRIMARY = {"InstanceGroupType": "MASTER", "Name": "Primary", "InstanceType": "m5.xlarge", "InstanceCount": 1}
START = "aws emr create-cluster --region eu-west-1 --release-label emr-7.5.0 --use-default-roles"
ALONE = "--instance-groups InstanceGroupType=MASTER,InstanceType=m5.xlarge,InstanceCount=1"

SIGNALS = Command(
    r"""#!/bin/bash
# The daily signals
aws emr create-cluster \
--applications Name=Hadoop Name=Hive Name=Pig Name=Spark Name=Presto \
--ec2-attributes file://ec2attributes.json  \
--release-label emr-6.3.0 \
--log-uri 's3n://signals/logs/' \
--bootstrap-actions file://bootstrap.json \
--instance-groups file://instancegroups.json \
--configurations file://configurations.json \
--no-visible-to-all-users \
--service-role EMR_DefaultRole \
--security-configuration 'Secure EMR S3 Access' \
--enable-debugging \
--name 'Daily "Signals"' \
--region eu-west-1 \
--ebs-root-volume-size 65 \
--tags 'ClusterFunction=Signals'
""",
    {
        "ec2attributes.json": {
            "KeyName": "signals",
            "InstanceProfile": "EMR_EC2_DefaultRole",
            "SubnetId": SUBNET,
            "EmrManagedMasterSecurityGroup": GROUPS[0],
            "EmrManagedSlaveSecurityGroup": GROUPS[1],
            "AdditionalMasterSecurityGroups": [GROUPS[2]],
        },
        "bootstrap.json": [{"Path": "s3://signals/bootstrap.sh", "Name": "Bootstrap Actions", "Args": []}],
        "instancegroups.json": [
            {
                **PRIMARY,
                "EbsConfiguration": {
                    "EbsOptimized": True,
                    "EbsBlockDeviceConfigs": [
                        {"VolumeSpecification": {"VolumeType": "gp2", "SizeInGB": 64}, "VolumesPerInstance": 2}
                    ],
                },
            }
        ],
        "configurations.json": [
            {"Classification": "spark", "Properties": {"maximizeResourceAllocation": "true"}},
            {
                "Classification": "spark-env",
                "Properties": {},
                "Configurations": [{"Classification": "export", "Properties": {"PYSPARK_PYTHON": "/usr/bin/python3"}}],
            },
        ],
    },
)

COMMANDS = {
    "signals": SIGNALS,
    "least": Command("aws emr create-cluster --release-label emr-7.5.0 --instance-type m5.xlarge --region eu-west-1"),
    "shorthand": Command(
        rf"""{START} --name "it's \"daily\"" {ALONE} \
  --ec2-attributes KeyName=signals,SubnetId={SUBNET} --applications Name=Spark \
  --bootstrap-actions Path=s3://b/install.sh,Name=Packages,Args=[one,two] Path=s3://b/other.sh \
  --tags a=b 'c=d e' empty --termination-protected --log-uri s3://b/logs/ \
  --log-encryption-kms-key-id arn:aws:kms:eu-west-1:123456789012:key/1""",
    ),
    "fleets": Command(
        f"{START} --name fleets --instance-fleets file://fleets.json --ec2-attributes file://ec2.json "
        "--visible-to-all-users --no-termination-protected --scale-down-behavior TERMINATE_AT_TASK_COMPLETION",
        {
            "ec2.json": {"SubnetIds": [SUBNET]},
            "fleets.json": [
                {
                    "Name": "Primary",
                    "InstanceFleetType": "MASTER",
                    "TargetOnDemandCapacity": 1,
                    "InstanceTypeConfigs": [
                        {"InstanceType": "m5.xlarge", "WeightedCapacity": 1},
                        {"InstanceType": "m5a.xlarge", "BidPriceAsPercentageOfOnDemandPrice": 80.5},
                    ],
                    "LaunchSpecifications": {"OnDemandSpecification": {"AllocationStrategy": "lowest-price"}},
                }
            ],
        },
    ),
    "steps": Command(
        f"{START} --name steps {ALONE} --steps file://steps.json --auto-terminate --applications Name=Spark Name=Hive "
        "--step-concurrency-level 2 --ec2-attributes SubnetId=" + SUBNET,
        {
            "steps.json": [
                {
                    "Type": "Spark",
                    "Name": "read",
                    "ActionOnFailure": "CONTINUE",
                    "Args": ["--deploy-mode", "client", "s3://b/read.py", "s3://b/settings.json"],
                },
                {
                    "Type": "CUSTOM_JAR",
                    "Name": "{{ not.a.template }} {% nor this",
                    "Jar": "command-runner.jar",
                    "Args": ["bash", "-c", 'echo "it\'s"\r\n\ttwo\n', "é"],
                    "Properties": "k1=v1,k2=v2",
                },
                {"Type": "HIVE", "Name": "hive", "Args": ["-f", "s3://b/q.sql", "-d", "A=1"]},
            ]
        },
    ),
    "step shorthand": Command(
        f"{START} --name 'step shorthand' {ALONE} --enable-debugging --log-uri s3://b/logs/ --no-auto-terminate "
        "--step-execution-role-arn arn:aws:iam::123456789012:role/reader "
        "--steps Type=CUSTOM_JAR,Name=run,ActionOnFailure=CONTINUE,Jar=command-runner.jar,Args=[true,x]"
    ),
    "kerberos": Command(
        f"{START} --name kerberos {ALONE} --security-configuration krb5 "
        "--kerberos-attributes "
        """'Realm=EC2.INTERNAL,KdcAdminPassword=p,ADDomainJoinUser=u,ADDomainJoinPassword="a,b"'"""
    ),
    "core nodes": Command(
        f"{START} --name 'core nodes' --instance-groups file://groups.json "
        "--auto-scaling-role EMR_AutoScaling_DefaultRole "
        "--managed-scaling-policy file://scaling.json --unhealthy-node-replacement --no-enable-debugging",
        {
            "groups.json": [
                PRIMARY,
                {
                    "InstanceGroupType": "CORE",
                    "InstanceType": "r5.2xlarge",
                    "InstanceCount": 2,
                    "BidPrice": "OnDemandPrice",
                    "Configurations": [{"Classification": "yarn-site", "Properties": {"yarn.x": "1"}}],
                },
            ],
            "scaling.json": {
                "ComputeLimits": {"MinimumCapacityUnits": 2, "MaximumCapacityUnits": 5, "UnitType": "Instances"}
            },
        },
    ),
    "counts": Command(
        f"{START} --name counts --instance-type m5.xlarge --instance-count 3 --custom-ami-id ami-0123456789abcdef0 "
        "--ebs-root-volume-size 100 --ebs-root-volume-iops 3000 --ebs-root-volume-throughput 125 "
        "--repo-upgrade-on-boot NONE --auto-termination-policy IdleTimeout=7200 --os-release-label 2023.6.20241010.0"
    ),
    "inline": Command(
        rf"""{START} --name inline {ALONE} --additional-info '{{"a": ["b"]}}' \
  --configurations '[{{"Classification":"core-site","Properties":{{"fs.x":"\"y\""}}}}]' \
  --emrfs Consistent=true,RetryCount=5,Args=[fs.s3.x=1] \
  --ec2-attributes '{{"AvailabilityZone":"eu-west-1a","ServiceAccessSecurityGroup":"sg-0123456789abcdef0"}}' \
  --tags file://tags.json""",
        {"tags.json": ["ClusterFunction=Signals", "empty"]},
    ),
    "placement": Command(
        f"{START} --name placement --instance-groups file://groups.json --placement-group-configs InstanceRole=MASTER "
        "--no-unhealthy-node-replacement --security-configuration '$ecure' --ec2-attributes file://ec2.json",
        {"groups.json": [{**PRIMARY, "InstanceCount": 3}], "ec2.json": {"SubnetId": SUBNET, "KeyName": "k"}},
    ),
    "ami": Command(
        "aws --region eu-west-1 emr create-cluster --ami-version 3.11.0 --name ami --instance-type m1.large "
        "--applications Name=Hive Name=HBase Name=Ganglia --enable-debugging --log-uri s3://b/logs/ "
        "--service-role EMR_DefaultRole --ec2-attributes InstanceProfile=EMR_EC2_DefaultRole "
        "--restore-from-hbase-backup Dir=s3://b/hbase,BackupVersion=1 "
        "--steps Type=HIVE,Name=hive,Args=[-f,s3://b/q.sql] --bootstrap-actions Path=s3://b/x.sh"
    ),
    "own options": Command(
        "aws --output text --query ClusterId emr create-cluster --release-label emr-7.5.0 "
        f"--name 'own options' {ALONE} --region us-east-1 --cli-read-timeout 30 "
        "--monitoring-configuration file://monitoring.json --session-enabled",
        {"monitoring.json": {"CloudWatchLogConfiguration": {"Enabled": True, "LogGroupName": "emr"}}},
    ),
}
