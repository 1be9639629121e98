"""A command in a real pseudo terminal, 80 columns wide, and what it leaves on the screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from typing import TYPE_CHECKING

import pytest

from tests.terminal import ESCAPES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.airflow

COLUMNS = 80
# A line of Airflow's log, such as a deprecation of Airflow in the Amazon provider.
_LOGGED = re.compile(r"^(?:\x1b\[[0-9;]*m)*\d{4}-\d\d-\d\dT[0-9:.]+Z.*\n", re.MULTILINE)


def seen(home: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run the console script in a terminal; return the exit status and what it wrote, without Airflow's log."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "COLUMNS", "NO_COLOR"))
    }
    settings = {"AIRFLOW_HOME": str(home), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    settings["AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY"] = "True"  # otherwise Airflow 2 prints a warning
    process, terminal = pty.fork()
    if not process:
        command = [sys.executable, "-m", "airflow_eip_provider.cli", *arguments]
        os.execve(sys.executable, command, {**kept, **settings, "TERM": "xterm-256color", **environment})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    written = b""
    while True:
        try:
            some = os.read(terminal, 65536)
        except OSError:  # Linux says so when the other end is closed
            some = b""
        if not some:
            break
        written += some
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), _LOGGED.sub("", written.decode())


def lines(written: str) -> list[str]:
    """Return the lines that stay on the screen, without those that were erased or overwritten."""
    plain = re.sub(r"\x1b\[(\?25[hl]|[0-9;]*m)", "", written.replace("\r\n", "\n"))  # without cursor and colours
    text = re.sub(r"[^\n]*\n\r\x1b\[1A\x1b\[2K", "", plain)  # one line up, and erase
    stayed = [re.split(r"\r|\x1b\[2K", line)[-1] for line in text.split("\n")]
    return [ESCAPES.sub("", line).rstrip() for line in stayed]


def test_doctor_shows_a_table_that_fits(clocked, allocation_id, tmp_path):
    status, written = seen(tmp_path, "doctor", "--allocation-id", allocation_id, "--lock-store", "none")
    shown = lines(written)
    assert status == 0, written
    assert max(map(len, shown)) <= COLUMNS
    header = next(line for line in shown if line.startswith("RESULT"))
    assert header.split() == ["RESULT", "CHECK", "FINDING"]
    column = header.index("FINDING")
    wrapped = [line for line in shown[shown.index(header) :] if line.startswith(" " * column) and line.strip()]
    assert wrapped, "no finding is longer than what is left of the line"
    assert "\x1b[32mok" in written
    assert [line for line in shown if "asking AWS" in line or "loading" in line] == []
    assert len([line for line in shown if line.startswith("AWS account ")]) == 1


def test_an_error_is_marked_and_its_colour_can_be_turned_off(clocked, tmp_path):
    nowhere = ["status", "--allocation-id", "eipalloc-0123456789abcdef0", "--lock-store", "none"]
    status, written = seen(tmp_path, *nowhere)
    assert status == 1
    assert re.search(r"\x1b\[[0-9;]*31[0-9;]*merror:", written)
    assert max(map(len, lines(written))) <= COLUMNS

    status, written = seen(tmp_path, *nowhere, NO_COLOR="1")
    assert status == 1
    assert not re.search(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7])(?:;\d+)*m", written)
