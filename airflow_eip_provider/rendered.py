"""Checks of parameters after their templates are rendered."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from airflow_eip_provider.exceptions import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Collection


def is_nothing(value: object) -> bool:
    """
    Whether a rendered template field has no value.

    A missing XCom renders to the string "None", or to ``None`` with ``render_template_as_native_obj``.
    """
    return value is None or str(value).strip() in {"", "None"}


def rendered(value: object, *, name: str, doing: str) -> str:
    """
    Return the value of a rendered template field.

    :param name: of the parameter.
    :param doing: what needs the value, for the error.
    :raises InvalidInputError: if it has no value.
    """
    if is_nothing(value):
        raise InvalidInputError(
            doing,
            problem=f"{name} is {value!r}: its template or XCom rendered to nothing",
            remedy=f"check that the task that returns {name} has run",
        )
    return str(value)


def check_choice(parameter: str, value: object, choices: Collection[object]) -> None:
    """Check that a parameter has one of several values."""
    if value not in choices:
        raise InvalidInputError(
            f"checking {parameter} {value!r}",
            problem="unknown choice",
            remedy=f"use {' or '.join(repr(choice) for choice in choices)}",
        )


def check_flags(task: object, *names: str) -> None:
    """Check that parameters that are true or false are not texts, of which Python takes "False" for true."""
    for name in names:
        if isinstance(value := getattr(task, name), str):
            raise InvalidInputError(
                f"checking {name} {value!r}",
                problem="this is a text, and even 'False' would count as true",
                remedy="give True or False, without quotes",
            )


def number_of(value: object) -> float | None:
    """Return a number, or the number in a string (as templates render to); ``None`` for any other value."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
