"""Creates the resources of a template through AWS's API, because moto's CloudFormation lacks Network Load Balancers."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from cfnlint.decode import decode

from tests.integration.deploy.stacks import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::NoValue": None,
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
}


def create_from_template(path: Path, boto: Callable[..., Any], **parameters: Any) -> dict[str, Any]:
    """Create the resources of a template, which are listed in the order of their references; return its outputs."""
    template, problems = decode(str(path))
    assert problems == []
    creator = _Creator(boto, template, parameters)
    for name, resource in template["Resources"].items():
        create = getattr(creator, resource["Type"].rpartition("::")[2])
        resolved = creator.resolved(resource["Properties"])
        properties = {key: value for key, value in resolved.items() if value is not None}
        creator.values[name] = create(name, properties)
    return {name: creator.resolved(output["Value"]) for name, output in template["Outputs"].items()}


class _Creator:
    """Creates resources; the name of each method is a type."""

    def __init__(self, boto: Callable[..., Any], template: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        self._ec2, self._elb, self._iam = boto("ec2"), boto("elbv2"), boto("iam")
        defaults = {key: given.get("Default") for key, given in template["Parameters"].items()}
        self.values = {**defaults, **parameters, **_PSEUDO}
        assert set(parameters) <= set(defaults)
        assert None not in [self.values[name] for name in defaults], "a parameter without a value"
        self._conditions = template["Conditions"]
        self._dns_names: dict[str, str] = {}

    def resolved(self, value: Any) -> Any:
        """Return a value without CloudFormation's functions."""
        if isinstance(value, list):
            return [self.resolved(item) for item in value]
        if not isinstance(value, dict):
            return value
        function, argument = next(iter(value.items()), ("", None))
        functions: dict[str, Callable[[Any], Any]] = {
            "Ref": lambda name: self.values[name],
            "Fn::Sub": lambda text: re.sub(r"\$\{([\w:]+)\}", lambda match: str(self.values[match[1]]), text),
            "Fn::GetAtt": lambda names: self._dns_names[self.values[names[0]]],
            "Fn::If": lambda parts: self.resolved(parts[1 if self.resolved(self._conditions[parts[0]]) else 2]),
            "Fn::Not": lambda parts: not self.resolved(parts[0]),
            "Fn::Equals": lambda parts: self.resolved(parts[0]) == self.resolved(parts[1]),
        }
        if function in functions:
            return functions[function](argument)
        return {key: self.resolved(item) for key, item in value.items()}

    def SecurityGroup(self, name: str, given: dict[str, Any]) -> str:  # noqa: N802 - CloudFormation's name, as below
        made = self._ec2.create_security_group(
            GroupName=name, Description=given["GroupDescription"], VpcId=given["VpcId"]
        )
        for rule in given["SecurityGroupIngress"]:
            source = {"GroupId": rule.pop("SourceSecurityGroupId"), "Description": rule.pop("Description")}
            permission = {**rule, "UserIdGroupPairs": [source]}
            self._ec2.authorize_security_group_ingress(GroupId=made["GroupId"], IpPermissions=[permission])
        return str(made["GroupId"])

    def LoadBalancer(self, _: str, given: dict[str, Any]) -> str:  # noqa: N802
        attributes = given.pop("LoadBalancerAttributes")
        (made,) = self._elb.create_load_balancer(**given)["LoadBalancers"]
        arn = str(made["LoadBalancerArn"])
        self._elb.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=attributes)
        self._dns_names[arn] = made["DNSName"]
        return arn

    def TargetGroup(self, _: str, given: dict[str, Any]) -> str:  # noqa: N802
        attributes = given.pop("TargetGroupAttributes")
        (made,) = self._elb.create_target_group(**given)["TargetGroups"]
        self._elb.modify_target_group_attributes(TargetGroupArn=made["TargetGroupArn"], Attributes=attributes)
        return str(made["TargetGroupArn"])

    def Listener(self, _: str, given: dict[str, Any]) -> str:  # noqa: N802
        (made,) = self._elb.create_listener(**given)["Listeners"]
        return str(made["ListenerArn"])

    def ManagedPolicy(self, name: str, given: dict[str, Any]) -> str:  # noqa: N802
        document = json.dumps(given["PolicyDocument"])
        made = self._iam.create_policy(PolicyName=name, PolicyDocument=document, Description=given["Description"])
        for role in given.get("Roles", ()):
            self._iam.attach_role_policy(RoleName=role, PolicyArn=made["Policy"]["Arn"])
        return str(made["Policy"]["Arn"])
