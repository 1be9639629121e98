"""Eventual consistency: for how long a read of AWS may show the state before a change."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from airflow_eip_provider import clock
from airflow_eip_provider.aws.errors import is_transient

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

T = TypeVar("T")

# The reads of EC2 and EMR are eventually consistent ("Eventual consistency in the Amazon EC2 API"). AWS documents no
# limit; this package assumes this one.
READS_LAG_SECONDS = 60
# Two equal responses count as confirmed if they are at least this far apart.
SECOND_LOOK_SECONDS = 10
# The tolerance of poll times, so that a poll that comes milliseconds early is not repeated.
TOLERANCE_SECONDS = 1


def may_be_hidden(show_by: float, *, now: float) -> bool:
    """
    Whether a read may not yet show a change.

    :param show_by: when every read shows it; like ``now`` in seconds since the epoch.
    """
    return now < show_by - TOLERANCE_SECONDS


def until_shown(
    read: Callable[[], T], *, within: float = READS_LAG_SECONDS, pause: Callable[[float], None] | None = None
) -> T:
    """
    Repeat a read until AWS shows something, by default for as long as reads may lag.

    :param read: returns a false value for nothing.
    :param within: for how many seconds; ``SECOND_LOOK_SECONDS`` for one more read, so that no single one decides.
    :param pause: waits for some seconds.
    :return: the last result.
    """
    shown, deadline = read(), clock.time() + within  # the first read may take long
    while not shown and clock.time() < deadline:
        (pause or clock.sleep)(SECOND_LOOK_SECONDS)
        shown = read()
    return shown


def until_answered(
    read: Callable[[], T],
    *,
    every: float = SECOND_LOOK_SECONDS,
    may_end: Callable[[Exception], bool] = is_transient,
    pause: Callable[[float], None] | None = None,
) -> T:
    """
    Repeat a read, or a check of what was read, while it fails with an error that may end, for as long as reads may lag.

    :param every: seconds between two reads.
    :param may_end: which errors may end; by default transient ones.
    :param pause: waits for some seconds.
    :raises Exception: the last such error after that time, or the first other error.
    """
    deadline = clock.time() + READS_LAG_SECONDS
    while True:
        try:
            return read()
        except Exception as error:
            if not may_end(error) or clock.time() >= deadline:
                raise
            log.info("Reading again in %s s: %s", every, error)
            (pause or clock.sleep)(every)
