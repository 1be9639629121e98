"""What a command shows again and again on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rich.console import Group
from rich.text import Text

from airflow_eip_provider import clock
from airflow_eip_provider.aws.errors import is_transient
from airflow_eip_provider.cli import terminal
from airflow_eip_provider.cli.output import without_logs
from airflow_eip_provider.exceptions import LockStoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from typing import Any, NoReturn, TypeAlias

    from rich.console import RenderableType

    # Names with what they stand for, and then tables: a header and its rows.
    Parts: TypeAlias = tuple[Any, ...]

T = TypeVar("T")


def watch(look: Callable[[], T], parts: Callable[[T], Parts], *, first: T, every: timedelta) -> NoReturn:
    """
    Show what is seen, until Ctrl-C.

    What gives no answer for a while stays as it was seen last, and that is said.

    :param parts: makes of what was seen what is shown.
    :param first: what was seen already.
    :raises KeyboardInterrupt: at Ctrl-C.
    """
    seconds = every.total_seconds()
    seen, at, problem = first, _now(), ""
    with without_logs(), terminal.live() as shown:
        while True:
            shown.update(_screen(parts(seen), at, problem, seconds), refresh=True)
            clock.sleep(seconds)
            try:
                seen, at, problem = look(), _now(), ""
            except Exception as error:
                if not (is_transient(error) or isinstance(error, LockStoreUnavailableError)):
                    raise
                problem = f"no answer: {error}"


def _screen(parts: Parts, at: str, problem: str, seconds: float) -> RenderableType:
    pairs, *tables = parts
    lines: list[RenderableType] = [Text(f"as of {at}, every {seconds:g} s, until Ctrl-C", "dim")]
    if problem:
        lines.append(Text(problem, "bold yellow"))
    lines.append(terminal.pairs_table(pairs))
    for header, rows in tables:
        lines += [Text(), terminal.table(header, rows, width=terminal.columns())]
    return Group(*lines)


def _now() -> str:
    return clock.now().strftime("%H:%M:%SZ")
