"""Policies by access key; keys without a policy may do everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_emr.errors import AwsError
from local_emr.faults import DENIAL_CODES
from local_emr.iam.policy import Policy
from local_emr.iam.questions import missing_object, questions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_emr.calls import Call
    from local_emr.iam.policy import Question
    from local_emr.iam.questions import World

Grant = tuple[str, str]


class Permissions:
    """
    The policies in force.

    :param world: gives access to tags and ids that are not in the call.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._policies: dict[str, Policy] = {}

    def enforce(self, document: Mapping[str, Any], *, access_key_id: str) -> None:
        """
        Restrict an access key to what a policy document allows.

        :raises ValueError: for an unsupported element of the policy.
        """
        self._policies[access_key_id] = Policy(document)

    def clear(self) -> None:
        """Remove all policies."""
        self._policies.clear()

    def check(self, call: Call) -> list[Grant] | None:
        """
        Return the Sid and action of each permission that allowed a call; ``None`` without a policy.

        :raises AwsError: the service's access denied error.
        """
        policy = self._policies.get(call.access_key_id)
        if policy is None:
            return None
        return [_granted(policy, question, call) for question in questions(call, self._world)]

    def check_missing(self, call: Call) -> list[Grant]:
        """
        Return the permissions with which the caller may learn that an object does not exist.

        :raises AwsError: when the caller has no such permission.
        """
        policy, question = self._policies.get(call.access_key_id), missing_object(call)
        return [_granted(policy, question, call)] if policy and question else []


def _granted(policy: Policy, question: Question, call: Call) -> Grant:
    sid = policy.grant(question)
    if sid is None:
        code, status = DENIAL_CODES.get(call.protocol, ("AccessDeniedException", 400))
        raise AwsError(
            code,
            f"User: {call.access_key_id} is not authorized to perform: {question.action} on resource: "
            f"{question.resource} because no identity-based policy allows the {question.action} action",
            status=status,
        )
    return sid, question.action
