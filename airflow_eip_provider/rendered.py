"""Template fields that were given, and rendered to nothing."""

from __future__ import annotations

import math

from airflow_eip_provider.exceptions import InvalidInputError


def is_nothing(value: object) -> bool:
    """
    Whether a template field has no value once it is rendered.

    A missing XCom is the text "None" in a template, and ``None`` with ``render_template_as_native_obj``.
    """
    return value is None or str(value).strip() in {"", "None"}


def rendered(value: object, *, name: str, doing: str) -> str:
    """
    Return the value of a template field that was given.

    :param name: of the parameter; ``doing`` says what it was needed for.
    :raises InvalidInputError: when it rendered to nothing.
    """
    if is_nothing(value):
        raise InvalidInputError(
            doing,
            problem=f"{name} was given, and is {value!r} now: its template or XCom rendered to nothing",
            remedy=f"see that the task that {name} comes from has run and returned it",
        )
    return str(value)


def number_of(value: object) -> float | None:
    """Read a number, or a text that a template rendered to and that spells one; ``None`` for all else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
