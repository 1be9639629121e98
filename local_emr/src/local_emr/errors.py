"""The error that the local EMR raises for a refused call."""

from __future__ import annotations


class AwsError(Exception):
    """An error of an AWS API: the code and message that the client gets.

    :param code: AWS's error code, e.g. ``InvalidAllocationID.NotFound``; clients should compare this, not the message.
    :param status: The HTTP status of the response.
    """

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.code, self.message, self.status)


def _rebuild(code: str, message: str, status: int) -> AwsError:
    return AwsError(code, message, status=status)
