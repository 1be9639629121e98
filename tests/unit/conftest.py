"""AWS's answers for plain functions: boto3 clients that say what a test tells them, in AWS's own shapes."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@functools.cache
def _session() -> Any:
    import boto3

    return boto3.Session(aws_access_key_id="-", aws_secret_access_key="-", region_name="eu-west-1")


@pytest.fixture
def stubbed() -> Iterator[Callable[..., Any]]:
    """
    Return a client that gives these answers in this order, and none that is left.

    Each is (operation, answer, what must be asked); an answer that is text is an error code.
    """
    from botocore.stub import Stubber

    with contextlib.ExitStack() as stack:

        def client(service: str, *answers: tuple[Any, ...]) -> Any:
            made = _session().client(service)
            stubber = stack.enter_context(Stubber(made))
            for operation, answer, *asked in answers:
                if isinstance(answer, str):
                    stubber.add_client_error(operation, answer, expected_params=asked[0] if asked else None)
                else:
                    stubber.add_response(operation, answer, asked[0] if asked else None)
            stack.callback(stubber.assert_no_pending_responses)
            return made

        yield client
