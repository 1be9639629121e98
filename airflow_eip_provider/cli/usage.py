"""What is wrong with the arguments of a command by themselves: it ends with exit status 2."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from airflow_eip_provider.exceptions import InvalidInputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def reading_arguments(option: str = "") -> Iterator[None]:
    """
    Say of input that is refused here that the arguments are wrong; AWS is not asked meanwhile.

    :param option: the one that is read, where the error says no more than that.
    :raises UsageError: in place of any ``InvalidInputError``.
    """
    try:
        yield
    except UsageError:
        raise
    except InvalidInputError as error:
        problem = error.problem if option else str(error).removesuffix(f"; {error.remedy}")
        raise UsageError(f"reading {option or 'the arguments'}", problem=problem, remedy=error.remedy) from error
