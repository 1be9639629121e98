"""How far AWS's answers may lag behind what has happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from airflow_eip_provider import clock
from airflow_eip_provider.aws.errors import is_transient

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# The reads of EC2 and EMR are eventually consistent ("Eventual consistency in the Amazon EC2 API"); AWS documents no
# bound. Within this time an answer may still describe the state before a change.
READS_LAG_SECONDS = 60
# Two answers that are at least this far apart, and say the same, count as more than one.
SECOND_LOOK_SECONDS = 10
# Looks that are made every so many seconds come at a moment give or take this, so none is made twice for milliseconds.
TOLERANCE_SECONDS = 1


def may_be_hidden(show_by: float, *, now: float) -> bool:
    """
    Tell whether a read may not show yet what it shows by a moment at the latest.

    :param show_by: that moment, and ``now``, in seconds since the epoch.
    """
    return now < show_by - TOLERANCE_SECONDS


def until_shown(look: Callable[[], T], *, pause: Callable[[float], None] | None = None) -> T:
    """
    Look until AWS shows something, or would have to show it by now.

    :param look: returns what is shown; something false for nothing.
    :param pause: lets seconds pass between two looks.
    :return: the last look.
    """
    deadline = clock.time() + READS_LAG_SECONDS
    while not (shown := look()) and clock.time() < deadline:
        (pause or clock.sleep)(SECOND_LOOK_SECONDS)
    return shown


def until_answered(look: Callable[[], T], *, every: float) -> T:
    """
    Look again while AWS gives no answer, for a minute.

    :param every: seconds between two looks.
    :raises Exception: what the look raised last, when AWS has not answered by then; at once what is not transient.
    """
    deadline = clock.time() + READS_LAG_SECONDS
    while True:
        try:
            return look()
        except Exception as error:
            if not is_transient(error) or clock.time() >= deadline:
                raise
            clock.sleep(every)
