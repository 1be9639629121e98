"""Finding batches of earlier submissions by their names, because Livy's POST has no idempotency token."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider.operators.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.hooks.livy import Batch

_NONCE_DIGITS = 12
_TITLE_LENGTH = 100
# A name is part of URLs.
_NOT_IN_URLS = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class BatchMark:
    """The end of a batch's name, by which a later try finds the batch."""

    owner: str
    try_number: int

    @classmethod
    def of(cls, context: Context) -> BatchMark:
        """Return the mark of this try of a task."""
        return cls(Owner.of(context).digest[:_NONCE_DIGITS], context["ti"].try_number)

    def __str__(self) -> str:
        return f"eip-{self.owner}-{self.try_number}"

    def on(self, title: str) -> str:
        """Return the batch's name: the title and this mark."""
        return f"{_NOT_IN_URLS.sub('-', title)[:_TITLE_LENGTH].strip('-') or 'batch'}-{self}"

    def try_of(self, name: str) -> int | None:
        """Return the try of this owner that submitted a batch; ``None`` for a batch of another owner."""
        match = re.search(rf"-eip-{self.owner}-(\d+)$", name)
        return int(match[1]) if match else None

    def is_own(self, name: str) -> bool:
        """Return whether this try or an earlier one of the same owner submitted a batch."""
        number = self.try_of(name)
        return number is not None and number <= self.try_number

    def to_adopt(self, batches: Sequence[Batch], *, first_try: int, has_submitted: bool) -> Batch | None:
        """
        Return the batch to continue with: an active one, or one of the newest try that has succeeded.

        A cleared task runs its batch again. A task whose process or whose answer was lost does not.

        :param first_try: the first try since the task was last cleared.
        :param has_submitted: this try may have submitted a batch, and then continues with it in any state.
        """
        tries = {self.try_of(batch.name) or 0: batch for batch in batches if self.is_own(batch.name)}
        newest = max(tries, default=0)
        for number, batch in sorted(tries.items(), reverse=True):
            succeeded = batch.state == "success" and number == newest >= first_try
            is_ending = batch.state == "shutting_down"
            own = has_submitted and number == self.try_number
            if own or succeeded or (batch.is_active and not is_ending):
                return batch
        return None
