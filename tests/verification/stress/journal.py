"""What a worker notes of its tries, as Airflow's database would; it survives the worker."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BEGUN, SUCCESS, FAILED, VANISHED, ABSENT = "begun", "success", "failed", "vanished", "absent"


@dataclass(frozen=True, slots=True)
class Note:
    """
    One thing that happened to a try, or to a run as a whole.

    :param time: simulated, seconds since the epoch.
    :param task: "" for the run as a whole.
    :param what: "begun", "success", "failed", "vanished" (killed) or "absent" (killed, and its retry comes late).
    :param text: a task's result, or its error.
    :param final: no other try of this task follows.
    """

    time: float
    worker: str
    run: int
    task: str
    try_number: int
    what: str
    text: str = ""
    final: bool = False

    @property
    def run_id(self) -> str:
        """The DAG run."""
        return f"{self.worker}-{self.run:04}"


class Journal:
    """An append-only file of notes; each is on disk before anything follows it."""

    def __init__(self, path: Path) -> None:
        self.notes = read(path)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def add(self, note: Note) -> None:
        """Write a note in one piece."""
        os.write(self._file, (json.dumps(asdict(note)) + "\n").encode())
        self.notes.append(note)

    def of(self, run: int, task: str) -> list[Note]:
        """Return the notes of one task of a run, oldest first."""
        return [note for note in self.notes if (note.run, note.task) == (run, task)]

    def forget(self, run: int) -> None:
        """Drop an ended run's notes from memory."""
        self.notes = [note for note in self.notes if note.run != run or not note.task]


def read(path: Path) -> list[Note]:
    """Read a journal; there may be none yet."""
    if not path.exists():
        return []
    return [Note(**json.loads(line)) for line in path.read_text().splitlines()]
