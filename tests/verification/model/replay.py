"""
Runs functions of the lease protocol by replay: run again with the same answers, a function gets to the same point.

The model must stop a process between any two calls and continue from there more than once, and a running function
cannot be copied or stored. But a function depends only on its parameters and on the answers of its world. So it is run
from its beginning with the answers so far. The first call without an answer ends the run, and is the next request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_NO_ANSWER = object()


@dataclass(frozen=True, slots=True)
class Request:
    """
    A call of a method of :class:`~airflow_eip_provider.lease.world.World`, as a value.

    :param arguments: positional and named ones, in the order of the call.
    :param address: the address whose world is asked; empty if there is only one.
    """

    method: str
    arguments: tuple[Any, ...] = ()
    address: str = ""

    def __str__(self) -> str:
        where = f" of {self.address}" if self.address else ""
        return f"{self.method}({', '.join(map(str, self.arguments))}){where}"


class Unanswered(BaseException):
    """A request has no answer yet; not an ``Exception``, so that no handler of errors catches it."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request


class Replay:
    """A :class:`~airflow_eip_provider.lease.world.World` that returns given answers in their order."""

    def __init__(self, answers: Iterable[Any], address: str = "") -> None:
        self._answers = iter(answers)
        self._address = address

    def at(self, address: str) -> Replay:
        """Return the world of one address of several; all of them share the answers."""
        return type(self)(self._answers, address)

    def pause(self) -> None:
        """Do nothing: in the model, others may act at any moment."""

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *arguments, **named: self._answer(method, *arguments, *named.values())

    def _answer(self, method: str, *arguments: Any) -> Any:
        answer = next(self._answers, _NO_ANSWER)
        if answer is _NO_ANSWER:
            raise Unanswered(Request(method, arguments, self._address))
        return answer


class PausingReplay(Replay):
    """The same, with a pause as a request whose answer is ``None``."""

    def pause(self) -> None:
        self._answer("pause")


def run(function: Callable[[Any], Any], world: Replay) -> tuple[Request | None, Any]:
    """
    Run a function of the protocol as far as the answers reach.

    :return: the next request, or ``None`` and the result of the function.
    """
    try:
        return None, function(world)
    except Unanswered as unanswered:
        return unanswered.request, None
