"""Makes what a template describes through AWS's API, where moto's CloudFormation knows no Network Load Balancers."""

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
    """Create the resources of a template, each of which stands below those that it names, and return its outputs."""
    template, problems = decode(str(path))
    assert problems == []
    maker = _Maker(boto, template, parameters)
    for name, resource in template["Resources"].items():
        make = getattr(maker, resource["Type"].rpartition("::")[2])
        properties = {key: value for key, value in maker.resolved(resource["Properties"]).items() if value is not None}
        maker.known[name] = make(name, properties)
    return {name: maker.resolved(output["Value"]) for name, output in template["Outputs"].items()}


class _Maker:
    """Makes resources; each method is called as its type is."""

    def __init__(self, boto: Callable[..., Any], template: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        self._ec2, self._elb, self._iam = boto("ec2"), boto("elbv2"), boto("iam")
        defaults = {key: given.get("Default") for key, given in template["Parameters"].items()}
        self.known = {**defaults, **parameters, **_PSEUDO}
        assert set(parameters) <= set(defaults)
        assert None not in [self.known[name] for name in defaults], "a parameter without a value"
        self._conditions = template["Conditions"]
        self._dns_names: dict[str, str] = {}

    def resolved(self, value: Any) -> Any:
        """Return a value without CloudFormation's functions."""
        if isinstance(value, list):
            return [self.resolved(item) for item in value]
        if not isinstance(value, dict):
            return value
        function, argument = next(iter(value.items()), ("", None))
        known: dict[str, Callable[[Any], Any]] = {
            "Ref": lambda name: self.known[name],
            "Fn::Sub": lambda text: re.sub(r"\$\{([\w:]+)\}", lambda match: str(self.known[match[1]]), text),
            "Fn::GetAtt": lambda named: self._dns_names[self.known[named[0]]],
            "Fn::If": lambda parts: self.resolved(parts[1 if self.resolved(self._conditions[parts[0]]) else 2]),
            "Fn::Not": lambda parts: not self.resolved(parts[0]),
            "Fn::Equals": lambda parts: self.resolved(parts[0]) == self.resolved(parts[1]),
        }
        if function in known:
            return known[function](argument)
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
