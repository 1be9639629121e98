"""Output on a terminal, and in a pipe."""

from __future__ import annotations

import re
import sys
import threading
import time
from typing import Any

import pytest

from airflow_eip_provider.cli import output, terminal
from tests.terminal import Terminal

HEADER = ("RESULT", "CHECK", "FINDING")
ROWS = [
    ("ok", "address", "the address exists here"),
    (
        "error",
        "route",
        "subnet-0123456789abcdef0: no route to an internet gateway, so that nothing in it reaches the database",
    ),
]
WIDE = ("VERDICT", "INTERFACE", "INSTANCE", "FROM", "TO", "WHY")
WIDE_ROWS = [
    ("stranger", "eni-0123456789abcdef0", "i-0123456789abcdef0", "10.0.1.17", "10.0.3.4:1433", "nobody had it"),
    ("tenancy", "eni-0fedcba9876543210", "i-0fedcba9876543210", "10.0.1.18", "10.0.3.4:1433", "it had it"),
]


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make both streams terminals with a number of columns; return them."""

    def make(columns: int = 80) -> tuple[Terminal, Terminal]:
        for name, value in {"COLUMNS": str(columns), "LINES": "40", "TERM": "xterm-256color"}.items():
            monkeypatch.setenv(name, value)
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            monkeypatch.delenv(name, raising=False)
        out, err = Terminal(), Terminal()
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        return out, err

    return make


def test_a_pipe_gets_one_line_for_each_row_as_ever(capsys):
    output.print_table(HEADER, ROWS)
    output.print_pairs([("address", "eipalloc-1"), ("on", "nothing: it is free")])
    output.note("error: no")
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "RESULT  CHECK    FINDING",
        "ok      address  the address exists here",
        f"error   route    {ROWS[1][2]}",
        "address     eipalloc-1",
        "on          nothing: it is free",
    ]
    assert said.err == "error: no\n"


def test_a_table_fits_the_terminal_and_only_the_last_column_is_wrapped(on_terminal):
    out, _ = on_terminal()
    output.print_table(HEADER, ROWS)
    assert max(map(len, out.lines)) <= 80
    assert out.lines[1] == "ok      address  the address exists here"
    assert out.lines[2].startswith("error   route    subnet-0123456789abcdef0: no route")
    assert " ".join(line[17:] for line in out.lines[2:]) == ROWS[1][2]


def test_rows_that_do_not_fit_are_shown_name_by_name(on_terminal):
    out, _ = on_terminal()
    output.print_table(WIDE, WIDE_ROWS)
    assert out.lines == [
        *(f"{name:<9}  {cell}" for name, cell in zip(WIDE, WIDE_ROWS[0], strict=True)),
        "",
        *(f"{name:<9}  {cell}" for name, cell in zip(WIDE, WIDE_ROWS[1], strict=True)),
    ]


def test_the_same_rows_are_a_table_on_a_wide_terminal(on_terminal):
    out, _ = on_terminal(140)
    output.print_table(WIDE, WIDE_ROWS)
    assert len(out.lines) == 3
    assert out.lines[0].split() == list(WIDE)


def test_a_table_without_rows_is_its_header(on_terminal):
    out, _ = on_terminal()
    output.print_table(HEADER, [])
    assert out.lines == ["RESULT  CHECK  FINDING"]


def test_results_have_colours_on_a_terminal(on_terminal):
    out, err = on_terminal()
    output.print_table(HEADER, ROWS)
    output.note("error: it went wrong")
    assert "\x1b[31merror" in out.getvalue()
    assert re.search(r"\x1b\[[0-9;]*31[0-9;]*merror:", err.getvalue())


def test_no_color_is_respected(on_terminal, monkeypatch):
    out, err = on_terminal()
    monkeypatch.setenv("NO_COLOR", "1")
    output.print_table(HEADER, ROWS)
    output.note("error: it went wrong")
    colours = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7])(?:;\d+)*m")
    assert not colours.search(out.getvalue() + err.getvalue())


def test_brackets_are_text(on_terminal):
    """Owners of mapped tasks and names of clusters can contain them."""
    out, err = on_terminal()
    output.print_table(("NAME", "OWNER"), [("[bold]", "a[/]b")])
    output.print_pairs([("on", "[red]x :smile:")])
    output.note("[link]y")
    assert out.lines[1:] == ["[bold]  a[/]b", "on  [red]x :smile:"]
    assert err.lines == ["[link]y"]


def test_json_is_the_same_everywhere(on_terminal):
    out, _ = on_terminal(20)
    output.print_json({"text": "x" * 100, "markup": "[bold]"})
    assert out.getvalue() == '{\n  "text": "' + "x" * 100 + '",\n  "markup": "[bold]"\n}\n'


def test_slow_work_shows_progress_and_leaves_nothing(on_terminal, monkeypatch):
    monkeypatch.setattr(terminal, "_SILENT_SECONDS", 0.0)
    out, err = on_terminal()
    real_out = sys.stdout
    with output.only_the_result():
        output.progress("reading flow logs: 3 files")
        give_up = time.monotonic() + 30
        while "reading flow logs: 3 files" not in err.text and time.monotonic() < give_up:
            threading.Event().wait(0.01)
        output.note("AWS account 1")
    assert "reading flow logs: 3 files" in err.text
    assert re.search(r"\x1b\[2K(\x1b\[[0-9;]*m)*AWS account 1", err.getvalue()), "it takes the line's place"
    assert err.getvalue().rstrip().endswith("\x1b[2K") or err.getvalue().rstrip().endswith("\x1b[?25h")
    assert sys.stdout is real_out
    assert out.getvalue() == ""
    assert [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)] == []


def test_what_is_quick_shows_no_progress(on_terminal):
    out, err = on_terminal()
    with output.only_the_result():
        output.progress("connecting to AWS")
        sys.stdout.write("a log of Airflow's\n")
    assert err.getvalue() == "a log of Airflow's\n"
    assert out.getvalue() == ""


def test_a_pipe_never_sees_progress(monkeypatch, capsys):
    monkeypatch.setattr(terminal, "_SILENT_SECONDS", 0.0)
    with output.only_the_result():
        output.progress("connecting to AWS")
    assert capsys.readouterr() == ("", "")


def test_progress_ends_with_an_error_too(on_terminal, monkeypatch):
    monkeypatch.setattr(terminal, "_SILENT_SECONDS", 0.0)
    on_terminal()
    stderr = sys.stderr
    with pytest.raises(KeyboardInterrupt), output.only_the_result():
        raise KeyboardInterrupt
    assert sys.stderr is stderr
    assert output._line == []


def test_lines_that_a_command_breaks_itself_fit_the_terminal(on_terminal):
    assert output.wrapping_width(92, reserved=20) == 92
    on_terminal(80)
    assert output.wrapping_width(92, reserved=20) == 60
    on_terminal(40)
    assert output.wrapping_width(92, reserved=20) == 30


OWNER = "production/daily-orders/scheduled__2026-11-30T03:10:00.123456+00:00/fixed.create/-1"


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_an_owner_and_an_id_are_never_broken_so_that_they_can_be_copied(on_terminal, columns):
    out, _ = on_terminal(columns)
    output.print_table(("TOKEN", "ON", "OWNER"), [("1", "j-1A2B3C4D5E6F7", OWNER)])
    output.print_pairs([("lease", f"held by '{OWNER}' on j-1A2B3C4D5E6F7 since today")])
    assert out.text.count(OWNER) == 2
    assert out.text.count("j-1A2B3C4D5E6F7") == 2


def test_a_screen_that_is_refreshed_has_no_line_that_is_too_long(on_terminal):
    out, _ = on_terminal(40)
    terminal.show(terminal.pairs_table([("owner", OWNER)], fold=True))
    assert max(map(len, out.lines)) <= 40
