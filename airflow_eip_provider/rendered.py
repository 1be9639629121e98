"""Template fields that were given, and rendered to nothing."""

from __future__ import annotations

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
