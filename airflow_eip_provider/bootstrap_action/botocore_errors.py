"""
What the programs of a node import of botocore: its errors, and nothing else.

EMR's nodes have no botocore that a program could import: the AWS CLI brings its own, inside. The bundle has this file
in its place, so that the lock, the stores and the readings run there unchanged; :mod:`.aws_cli` raises these errors.
"""

from __future__ import annotations

from typing import Any


class BotoCoreError(Exception):
    """
    Base of what is no answer of AWS.

    :param error: what happened.
    """

    def __init__(self, *, error: str = "") -> None:
        super().__init__(error)


class HTTPClientError(BotoCoreError):
    """There was no whole answer."""


class ConnectionError(BotoCoreError):  # noqa: A001 - botocore's name
    """There was no connection."""


class IncompleteReadError(BotoCoreError):
    """The answer broke off."""


class ResponseParserError(BotoCoreError):
    """The answer could not be read (botocore keeps it in ``botocore.parsers``)."""


class WaiterError(BotoCoreError):
    """What was waited for did not come."""


class ClientError(Exception):
    """
    AWS refused a request.

    :param response: with ``Error`` {Code, Message} and ``ResponseMetadata``, as botocore has it.
    """

    def __init__(self, response: dict[str, Any], operation_name: str) -> None:
        error = response.get("Error", {})
        code, message = error.get("Code", "Unknown"), error.get("Message", "Unknown")
        super().__init__(f"An error occurred ({code}) when calling the {operation_name} operation: {message}")
        self.response = response
        self.operation_name = operation_name
