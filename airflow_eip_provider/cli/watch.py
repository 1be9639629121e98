"""A screen that a command refreshes."""

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

    # Pairs of a name and a text, followed by tables: a header and its rows.
    Parts: TypeAlias = tuple[Any, ...]

T = TypeVar("T")


def watch(poll: Callable[[], T], parts: Callable[[T], Parts], *, first: T, every: timedelta) -> NoReturn:
    """
    Show the state and refresh it until Ctrl-C.

    When AWS or the lock store does not answer, the last state stays on the screen, with a message.

    :param poll: reads the state.
    :param parts: makes of a state what is shown.
    :param first: the state to begin with.
    :raises KeyboardInterrupt: at Ctrl-C.
    """
    seconds = every.total_seconds()
    state, at, problem = first, _now(), ""
    with without_logs(), terminal.live() as shown:
        while True:
            shown.update(_screen(parts(state), at, problem, seconds), refresh=True)
            clock.sleep(seconds)
            try:
                state, at, problem = poll(), _now(), ""
            except Exception as error:
                if not (is_transient(error) or isinstance(error, LockStoreUnavailableError)):
                    raise
                problem = f"no answer: {error}"


def _screen(parts: Parts, at: str, problem: str, seconds: float) -> RenderableType:
    pairs, *tables = parts
    lines: list[RenderableType] = [Text(f"as of {at}, every {seconds:g} s, until Ctrl-C", "dim")]
    if problem:
        lines.append(Text(problem, "bold yellow"))
    lines.append(terminal.pairs_table(pairs, fold=True))
    for header, rows in tables:
        lines += [Text(), terminal.table(header, rows, fold=True)]
    return Group(*lines)


def _now() -> str:
    return clock.now().strftime("%H:%M:%SZ")
