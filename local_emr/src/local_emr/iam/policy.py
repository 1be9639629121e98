"""
Evaluates a policy document for a request.

The rules are those of the IAM User Guide, "Policy evaluation logic" and "IAM JSON policy elements: Condition": a
matching Deny wins, otherwise a matching Allow is required; all conditions must hold; one of a condition's values must
match. Unsupported elements of a document are an error, as a wrong result would be worse than none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ELEMENTS = {"Sid", "Effect", "Action", "NotAction", "Resource", "Condition"}
_FOR_ALL, _FOR_ANY = "ForAllValues:", "ForAnyValue:"
_IF_EXISTS = "IfExists"


@dataclass(frozen=True, slots=True)
class Question:
    """
    An action on a resource.

    :param resource: an ARN, or ``*`` for an action without resource types.
    :param context: condition keys and their values; a tuple for a multivalued key.
    """

    action: str
    resource: str
    context: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)


class Policy:
    """
    A policy document.

    :raises ValueError: naming an unsupported element.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._statements = [_Statement(statement) for statement in _listed(document["Statement"])]

    def grant(self, question: Question) -> str | None:
        """Return the Sid of the statement that allows the action; ``None`` if it is not allowed."""
        applying = [statement for statement in self._statements if statement.applies(question)]
        if any(statement.denies for statement in applying):
            return None
        return next((statement.sid for statement in applying), None)


class _Statement:
    def __init__(self, statement: Mapping[str, Any]) -> None:
        if unknown := statement.keys() - _ELEMENTS:
            raise ValueError(f"policy statement {statement.get('Sid')!r}: {sorted(unknown)} is not evaluated here")
        self.sid = str(statement.get("Sid", ""))
        self.denies = statement["Effect"] == "Deny"
        self._excepts = "NotAction" in statement
        actions = _listed(statement["NotAction" if self._excepts else "Action"])
        self._actions = [_pattern(action, re.IGNORECASE) for action in actions]
        self._resources = [_pattern(resource) for resource in _listed(statement["Resource"])]
        self._conditions = [
            _condition(operator, key, _listed(values))
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        ]

    def applies(self, question: Question) -> bool:
        return (
            any(pattern.fullmatch(question.action) for pattern in self._actions) != self._excepts
            and any(pattern.fullmatch(question.resource) for pattern in self._resources)
            and all(condition(question.context) for condition in self._conditions)
        )


def _condition(operator: str, key: str, wanted: list[str]) -> Callable[[Mapping[str, Any]], bool]:
    """
    Return the check of one condition key.

    A key that is missing in the request fails the condition, except with ``IfExists`` and ``ForAllValues``. A
    multivalued key needs a set operator: ``ForAllValues`` requires that all values match, ``ForAnyValue`` one.
    Keys are not case-sensitive (IAM User Guide, "Condition").
    """
    for_all, for_any = operator.startswith(_FOR_ALL), operator.startswith(_FOR_ANY)
    test = operator.removeprefix(_FOR_ALL).removeprefix(_FOR_ANY)
    if_exists = test.endswith(_IF_EXISTS)
    matches = _matcher(test.removesuffix(_IF_EXISTS), wanted)

    def holds(context: Mapping[str, Any]) -> bool:
        found = {name.lower(): value for name, value in context.items()}.get(key.lower())
        if found is None:
            return if_exists or for_all
        if isinstance(found, str):
            return matches(found)
        matched = [matches(value) for value in found]
        return (for_all and all(matched)) or (for_any and any(matched))

    return holds


def _matcher(test: str, wanted: list[str]) -> Callable[[str], bool]:
    if test == "StringEquals":
        return lambda value: value in wanted
    if test in {"StringLike", "ArnLike", "ArnEquals"}:
        patterns = [_pattern(value) for value in wanted]
        return lambda value: any(pattern.fullmatch(value) for pattern in patterns)
    raise ValueError(f"condition operator {test!r} is not evaluated here")


def _pattern(text: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """Compile IAM's wildcards: ``*`` is any text, ``?`` any one character."""
    if "${" in text:
        raise ValueError(f"policy variables as in {text!r} are not evaluated here")
    return re.compile(re.escape(text).replace(r"\*", ".*").replace(r"\?", "."), flags)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
