"""The pauses between polls of AWS."""

from __future__ import annotations

import math
import random

# At most 16 times the usual delay: four minutes for the usual 15 seconds.
_MOST_DOUBLINGS = 4


class Backoff:
    """
    Pauses of the usual length, and longer random ones while AWS does not answer.

    The waits for a throttled account must poll it less often, and not all at the same moment.

    :param delay: seconds between two polls that AWS answers.
    :param most: the longest pause.
    """

    def __init__(self, delay: float, *, most: float = math.inf) -> None:
        self._delay = delay
        self._most = most
        self._misses = 0

    def answered(self) -> None:
        """Record a poll that AWS answered."""
        self._misses = 0

    def missed(self) -> None:
        """Record a poll that AWS did not answer."""
        self._misses += 1

    def seconds(self, chance: float | None = None) -> float:
        """
        Return the next pause.

        :param chance: from 0 to 1; random by default. Give it for pauses of equal length.
        """
        chance = random.random() if chance is None else chance  # noqa: S311 - not a secret
        longest = float(2 ** min(self._misses, _MOST_DOUBLINGS))
        return min(self._delay * (1 + chance * (longest - 1)), self._most)
