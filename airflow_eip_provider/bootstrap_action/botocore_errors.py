"""
The errors of botocore that the programs on a node import.

EMR's nodes have no botocore that a program could import; that of the AWS CLI is private. The bundle has this file
instead, so that the lock, the stores and the reads run there unchanged. :mod:`.aws_cli` raises these errors.
"""

from __future__ import annotations

from typing import Any


class BotoCoreError(Exception):
    """
    The base class of errors without an answer of AWS.

    :param error: what happened.
    """

    def __init__(self, *, error: str = "") -> None:
        super().__init__(error)


class HTTPClientError(BotoCoreError):
    """There was no complete answer."""


class ConnectionError(BotoCoreError):  # noqa: A001 - botocore's name
    """There was no connection."""


class IncompleteReadError(BotoCoreError):
    """The answer was cut off."""


class ResponseParserError(BotoCoreError):
    """The answer could not be parsed (botocore has this error in ``botocore.parsers``)."""


class WaiterError(BotoCoreError):
    """A wait ended without success."""


class ClientError(Exception):
    """
    AWS refused a request.

    :param response: with ``Error`` {Code, Message} and ``ResponseMetadata``, as in botocore.
    """

    def __init__(self, response: dict[str, Any], operation_name: str) -> None:
        error = response.get("Error", {})
        code, message = error.get("Code", "Unknown"), error.get("Message", "Unknown")
        super().__init__(f"An error occurred ({code}) when calling the {operation_name} operation: {message}")
        self.response = response
        self.operation_name = operation_name
