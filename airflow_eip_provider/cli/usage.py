"""What is wrong with the arguments of a command by themselves: it ends with exit status 2."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from airflow_eip_provider.exceptions import InvalidInputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def reading_arguments() -> Iterator[None]:
    """
    Say of input that is refused here that the arguments are wrong; AWS is not asked meanwhile.

    :raises UsageError: in place of any ``InvalidInputError``.
    """
    try:
        yield
    except UsageError:
        raise
    except InvalidInputError as error:
        problem = str(error).removesuffix(f"; {error.remedy}")
        raise UsageError("reading the arguments", problem=problem, remedy=error.remedy) from error
