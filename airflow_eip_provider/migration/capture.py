"""
What the AWS CLI would send for ``aws emr create-cluster``, by its own code; nothing is sent.

Run as a file by a Python that has the package awscli (version 1), with the command's arguments; see ``aws_cli``. It
brings a botocore of its own (older releases want an older one), which takes the place of the installed one for the
whole process; hence a process of its own. Imports the standard library and awscli alone. Prints one JSON object:
{request, region, ignored, version}; on an error what the AWS CLI says, to standard error, with exit status 2.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from types import SimpleNamespace
from typing import Any, NoReturn

# Options that say how the AWS CLI itself connects and prints: here it does neither.
_OWN = {"profile": None, "endpoint_url": None, "query": None, "output": None, "ca_bundle": None, "debug": False}


def _refuse_network(*_: Any, **__: Any) -> NoReturn:
    raise OSError("nothing is fetched from the network; save it to a file and name that with file://")


def main(arguments: list[str]) -> int:
    """Let the AWS CLI read a command, and print what it would send."""
    import awscli  # noqa: PLC0415 - only here: whoever reads this file need not have it
    from awscli.alias import AliasLoader  # noqa: PLC0415
    from awscli.clidriver import create_clidriver  # noqa: PLC0415

    sys.argv[0] = "aws"  # as it calls itself in its errors
    found: dict[str, Any] = {}
    ignored: list[str] = []

    def read_own(parsed_args: Any, **_: Any) -> None:
        if parsed_args.command != "emr" or arguments[-1] == "help":
            raise ValueError(f"this is not 'aws emr create-cluster …': aws {' '.join(arguments)}")
        for name, default in _OWN.items():
            if getattr(parsed_args, name, default) != default:
                ignored.append(f"--{name.replace('_', '-')}")
                setattr(parsed_args, name, default)

    def only_create_cluster(command_table: dict[str, Any], **_: Any) -> None:
        for name in set(command_table) - {"create-cluster"}:
            del command_table[name]

    def capture(params: dict[str, Any], context: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        found.update(request=json.loads(params["body"]), region=context["client_region"])
        return SimpleNamespace(status_code=200), {}  # an answer, so that botocore sends nothing

    socket.getaddrinfo = _refuse_network
    socket.socket.connect = _refuse_network  # type: ignore[method-assign]
    driver = create_clidriver()
    driver.alias_loader = AliasLoader(os.path.join(os.devnull, "none"))  # noqa: PTH118 - there is none
    events = driver.session.get_component("event_emitter")
    events.register_first("top-level-args-parsed", read_own)
    events.register_last("building-command-table.emr", only_create_cluster)
    events.register("before-call.emr.RunJobFlow", capture)
    with contextlib.redirect_stdout(sys.stderr):
        status = driver.main(arguments)
    if status or not found:
        return 2
    print(json.dumps({**found, "ignored": ignored, "version": awscli.__version__}))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
