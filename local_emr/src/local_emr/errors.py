"""What the local EMR raises when it refuses a call, as AWS would."""

from __future__ import annotations


class AwsError(Exception):
    """An AWS API's refusal: the code and message that its client sees.

    :param code: AWS's error code, e.g. ``InvalidAllocationID.NotFound``; clients compare this, never the message.
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
