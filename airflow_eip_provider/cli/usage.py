"""What is wrong with the arguments of a command by themselves: it ends with exit status 2."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from airflow_eip_provider.exceptions import InvalidInputError, UsageError
from airflow_eip_provider.literals import is_template

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")


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


def read_json_file(argument: str, path: str, kind: type[T], *, wanted: str) -> T:
    """
    Return the content of a JSON file.

    :param argument: the option that names the file.
    :param kind: ``dict`` or ``list``.
    :param wanted: what the file should contain, for the error message.
    :raises UsageError: when the file cannot be read, is not JSON, or contains another type.
    """
    doing = f"reading {argument} '{path}'"
    text = ""
    try:
        text = Path(path).read_text("utf-8-sig")
        given: object = json.loads(text)
    except OSError as error:
        raise UsageError(doing, problem=str(error.strerror), remedy="name a JSON file") from error
    except (ValueError, RecursionError) as error:
        remedy = "correct it there"
        if is_template(text):
            remedy = "it contains templates: put each into a string, or render the file first"
        raise UsageError(doing, problem=f"it is not JSON: {error}", remedy=remedy) from error
    if not isinstance(given, kind):
        problem = f"it is not a JSON {'object' if kind is dict else 'list'}"
        raise UsageError(doing, problem=problem, remedy=f"give {wanted}")
    return given
