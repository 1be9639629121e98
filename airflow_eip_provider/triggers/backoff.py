"""How long to wait before looking at AWS again."""

from __future__ import annotations

import math
import random

# At most 16 times the usual delay: four minutes for the usual 15 seconds.
_MOST_DOUBLINGS = 4


class Backoff:
    """
    The pauses between looks: the usual delay, and longer ones, not the same for all, while AWS does not answer.

    Whoever waits for a throttled account must not look at it as often as before, nor all at the same moment.

    :param delay: seconds between two looks that AWS answers.
    :param most: the longest pause.
    """

    def __init__(self, delay: float, *, most: float = math.inf) -> None:
        self._delay = delay
        self._most = most
        self._misses = 0

    def answered(self) -> None:
        """Note a look that AWS answered."""
        self._misses = 0

    def missed(self) -> None:
        """Note a look that it did not."""
        self._misses += 1

    def seconds(self, chance: float | None = None) -> float:
        """
        Return the next pause.

        :param chance: from 0 to 1; random unless pauses are to be of the same length.
        """
        chance = random.random() if chance is None else chance  # noqa: S311 - not a secret
        longest = float(2 ** min(self._misses, _MOST_DOUBLINGS))
        return min(self._delay * (1 + chance * (longest - 1)), self._most)
