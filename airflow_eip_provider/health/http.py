"""
Makes the HTTP checks of the primary node, all at the same time.

It uses httpx, on which Airflow depends. It ignores the environment's proxies and ``.netrc``, because the hosts are in
the VPC, and credentials must not be sent to a host that the user did not name. A check that fails is made once more
after a pause, so that a single lost packet is not a failure.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Literal

import httpx

from airflow_eip_provider import clock
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.health.judgement import Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.health.checks import HttpCheck

# Before a failed check is repeated.
PAUSE_SECONDS = 2.0
# The NameNode's whole /jmx has some hundred kilobytes; anything larger is not a status page.
_MOST_BYTES = 4 * 1024 * 1024
# An untrusted certificate says nothing about the node's health; other TLS errors may.
_CERTIFICATE = "CERTIFICATE_VERIFY_FAILED"


class HttpChecker:
    """
    Makes HTTP checks, with new connections each time: a service that accepts no new ones is unhealthy.

    :param checks: the checks.
    """

    def __init__(self, checks: Sequence[HttpCheck]) -> None:
        self._checks = checks
        self._trust: dict[bool | str, ssl.SSLContext | bool] = {}

    def prepare(self) -> None:
        """
        Read the CA certificates; call this outside the event loop, because it takes long.

        :raises InvalidInputError: when a file with certificates cannot be read.
        """
        for check in self._checks:
            if check.scheme == "https" and check.verify not in self._trust:
                self._trust[check.verify] = _trust(check)

    async def check_all(self, host: str, logins: Mapping[str, tuple[str, str]]) -> list[Result]:
        """
        Make every check, and failed ones once more; return the results in the order of the checks.

        :param logins: login and password by the name of the Airflow connection.
        """
        return list(await asyncio.gather(*(self._check(check, host, logins) for check in self._checks)))

    async def _check(self, check: HttpCheck, host: str, logins: Mapping[str, tuple[str, str]]) -> Result:
        result = await self._request(check, host, logins)
        if result.failed:
            await asyncio.sleep(PAUSE_SECONDS)
            result = await self._request(check, host, logins)
        return result

    async def _request(self, check: HttpCheck, host: str, logins: Mapping[str, tuple[str, str]]) -> Result:
        url, login = check.url(host), logins.get(check.auth_conn_id or "")
        problem: str | None
        is_refused = False
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
            problem = f"no complete answer within {check.timeout_seconds:g} s"
        except httpx.TimeoutException:
            problem = f"no answer within {check.timeout_seconds:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            problem, is_refused = str(error) or type(error).__name__, _CERTIFICATE in str(error)
        else:
            if body is None:
                problem = f"the answer is longer than {_MOST_BYTES} bytes"
            else:
                problem = check.problem_with(response.status_code, body)
                is_refused = check.refuses_credentials(response.status_code)
        if problem is None:
            return Result(check.name, clock.time(), ok=True)
        kind: Literal["refused", ""] = "refused" if is_refused else ""
        return Result(check.name, clock.time(), ok=False, problem=f"GET {url}: {problem}", kind=kind)


async def _body(response: httpx.Response) -> bytes | None:
    """Return the whole answer; ``None`` if it is too long."""
    parts, length = [], 0
    async for part in response.aiter_bytes():
        length += len(part)
        if length > _MOST_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def _trust(check: HttpCheck) -> ssl.SSLContext | bool:
    if check.verify is False:
        return False
    try:
        return ssl.create_default_context(cafile=check.verify if isinstance(check.verify, str) else None)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInputError(
            f"checking check '{check.name}'",
            problem=f"the CA certificates in {check.verify!r} cannot be read: {error}",
            remedy="give the path of a PEM file that exists on workers and triggerers, or True",
        ) from error
