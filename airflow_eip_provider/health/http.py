"""
HTTP checks of the primary node: all at the same time, each within its own time.

By httpx, which Airflow itself needs. The environment's proxies and ``.netrc`` are not used: the addresses are those of
the VPC, and no credentials go anywhere that the user did not name. What fails is asked once more after a pause, so that
a single lost packet is no failure of a round.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import httpx

from airflow_eip_provider import clock
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.health.judgement import Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.health.checks import HttpCheck

# Before what failed is asked again.
PAUSE_SECONDS = 2.0
# The NameNode's whole /jmx has some hundred kilobytes; what is larger is no status page.
_MOST_BYTES = 4 * 1024 * 1024
# What is wrong with a certificate is not the primary's health; other TLS errors may be.
_CERTIFICATE = "CERTIFICATE_VERIFY_FAILED"


class HttpChecker:
    """
    Makes HTTP checks, round after round.

    A round has connections of its own: a service that accepts no new ones is found out.

    :param checks: what to ask.
    """

    def __init__(self, checks: Sequence[HttpCheck]) -> None:
        self._checks = checks
        self._trust: dict[bool | str, ssl.SSLContext | bool] = {}

    def prepare(self) -> None:
        """
        Read the CA's certificates, which takes too long for an event loop.

        :raises InvalidInputError: when a file with them cannot be read.
        """
        for check in self._checks:
            if check.scheme == "https" and check.verify not in self._trust:
                self._trust[check.verify] = _trust(check)

    async def check_all(self, host: str, logins: Mapping[str, tuple[str, str]]) -> list[Result]:
        """
        Make every check once, and those that fail once more; return what each found, in their order.

        :param logins: login and password by the name of the Airflow connection.
        """
        return list(await asyncio.gather(*(self._check(check, host, logins) for check in self._checks)))

    async def _check(self, check: HttpCheck, host: str, logins: Mapping[str, tuple[str, str]]) -> Result:
        found = await self._ask(check, host, logins)
        if found.failed:
            await asyncio.sleep(PAUSE_SECONDS)
            found = await self._ask(check, host, logins)
        return found

    async def _ask(self, check: HttpCheck, host: str, logins: Mapping[str, tuple[str, str]]) -> Result:
        url, login = check.url(host), logins.get(check.auth_conn_id or "")
        try:
            async with (
                asyncio.timeout(check.timeout_seconds),
                httpx.AsyncClient(
                    verify=self._trust[check.verify] if check.scheme == "https" else False,
                    auth=httpx.BasicAuth(*login) if login else None,
                    trust_env=False,
                    timeout=check.timeout_seconds,
                ) as client,
                client.stream("GET", url) as response,
            ):
                body = await _body(response)
        except TimeoutError:
            return self._failed(check, f"GET {url}: no whole answer within {check.timeout_seconds:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            untrusted = _CERTIFICATE in str(error)
            return self._failed(check, f"GET {url}: {_words(error, check)}", is_refused=untrusted)
        if body is None:
            return self._failed(check, f"GET {url}: the answer is longer than {_MOST_BYTES} bytes")
        problem = check.problem_with(response.status_code, body)
        if problem is None:
            return Result(check.name, clock.time(), ok=True)
        refused = check.refuses_credentials(response.status_code)
        return self._failed(check, f"GET {url}: {problem}", is_refused=refused)

    @staticmethod
    def _failed(check: HttpCheck, problem: str, *, is_refused: bool = False) -> Result:
        return Result(check.name, clock.time(), ok=False, problem=problem, kind="refused" if is_refused else "")


async def _body(response: httpx.Response) -> bytes | None:
    """Return the whole answer; ``None`` when it is too long."""
    parts, length = [], 0
    async for part in response.aiter_bytes():
        length += len(part)
        if length > _MOST_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def _words(error: Exception, check: HttpCheck) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {check.timeout_seconds:g} s"
    return str(error) or type(error).__name__


def _trust(check: HttpCheck) -> ssl.SSLContext | bool:
    if check.verify is False:
        return False
    try:
        return ssl.create_default_context(cafile=check.verify if isinstance(check.verify, str) else None)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInputError(
            f"checking check '{check.name}'",
            problem=f"the CA's certificates in {check.verify!r} cannot be read: {error}",
            remedy="give the path of a PEM file that workers and triggerer have, or True",
        ) from error
