"""What is wrong with the arguments of a command by themselves: it ends with exit status 2."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_eip_provider.exceptions import InvalidInputError, UsageError
from airflow_eip_provider.literals import is_template

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


def read_json_file(argument: str, path: str) -> object:
    """
    Return what a file holds.

    :param argument: the one that names it.
    :raises UsageError: when there is no such file, or it is not JSON.
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
            remedy = "it holds templates: put each into a string, or render the file first"
        raise UsageError(doing, problem=f"it is not JSON: {error}", remedy=remedy) from error
    return given
