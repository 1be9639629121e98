"""
Prints the request that the AWS CLI would send for ``aws emr create-cluster``, by its own code; sends nothing.

``aws_cli`` runs this file with a Python that has the package awscli (version 1), and with the command's arguments. The
package may bring another botocore, which replaces the installed one for the whole process; hence a separate process.
This file imports only the standard library and awscli. It prints one JSON object: {request, region, ignored, version}.
On an error it prints the AWS CLI's message to standard error, with exit status 2.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import sys
from types import SimpleNamespace
from typing import Any, NoReturn

# Options about how the AWS CLI connects and prints, by their names in its parser: the option and its default.
_CLI_OPTIONS = {
    "profile": ("--profile", None),
    "endpoint_url": ("--endpoint-url", None),
    "verify_ssl": ("--no-verify-ssl", True),
    "paginate": ("--no-paginate", True),
    "sign_request": ("--no-sign-request", True),
    "query": ("--query", None),
    "output": ("--output", None),
    "color": ("--color", "auto"),
    "ca_bundle": ("--ca-bundle", None),
    "read_timeout": ("--cli-read-timeout", None),
    "connect_timeout": ("--cli-connect-timeout", None),
    "debug": ("--debug", False),
    "v2_debug": ("--v2-debug", False),
    "no_cli_pager": ("--no-cli-pager", False),
    "cli_auto_prompt": ("--cli-auto-prompt", False),
    "no_cli_auto_prompt": ("--no-cli-auto-prompt", False),
    "cli_binary_format": ("--cli-binary-format", None),
    "cli_error_format": ("--cli-error-format", None),
}
# Those that the client is created with: they keep their values, so that botocore checks them.
_CHECKED_BY_BOTOCORE = {"endpoint_url", "verify_ssl", "ca_bundle", "read_timeout", "connect_timeout"}
# What only version 2 of the AWS CLI has: global flags, global options with their values, and output formats.
# https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-options.html
_FLAGS_OF_VERSION_2 = ("no-cli-pager", "cli-auto-prompt", "no-cli-auto-prompt")
_OPTIONS_OF_VERSION_2 = {
    "cli-binary-format": ["base64", "raw-in-base64-out"],
    "cli-error-format": ["legacy", "json", "yaml", "text", "table", "enhanced"],
}
_OUTPUT_OF_VERSION_2 = ["json", "text", "table", "yaml", "yaml-stream", "off"]


def _refuse_network(*_: Any, **__: Any) -> NoReturn:
    raise OSError("nothing is downloaded; save it to a file and give that as file://")


def _refuse_other_command(arguments: list[str], *_: Any) -> NoReturn:
    raise ValueError(f"this is not 'aws emr create-cluster …': aws {' '.join(arguments)}")


def _add_version_2(argument_table: Any, **_: Any) -> None:
    """Add the options of version 2 to the parser of version 1."""
    from awscli.arguments import CustomArgument  # noqa: PLC0415 - as below

    for name in _FLAGS_OF_VERSION_2:
        argument_table[name] = CustomArgument(name, action="store_true", dest=name.replace("-", "_"), default=False)
    for name, choices in _OPTIONS_OF_VERSION_2.items():
        argument_table[name] = CustomArgument(name, choices=choices, dest=name.replace("-", "_"))
    argument_table["output"] = CustomArgument("output", choices=_OUTPUT_OF_VERSION_2)


def main(arguments: list[str]) -> int:
    """Let the AWS CLI parse a command, and print the request that it would send."""
    import awscli  # noqa: PLC0415 - importing this file must not need it
    from awscli.alias import AliasLoader  # noqa: PLC0415
    from awscli.clidriver import create_clidriver  # noqa: PLC0415
    from awscli.help import PagingHelpRenderer  # noqa: PLC0415
    from botocore.awsrequest import AWSResponse  # noqa: PLC0415 - after awscli, which may bring another botocore

    sys.argv[0] = "aws"  # its name in its errors
    captured: dict[str, Any] = {}
    ignored: list[str] = []

    def note_ignored(parsed_args: Any, **_: Any) -> None:
        if parsed_args.command != "emr":
            _refuse_other_command(arguments)
        ignored.extend(
            option for name, (option, default) in _CLI_OPTIONS.items() if getattr(parsed_args, name, default) != default
        )

    def reset_ignored(parsed_args: Any, **_: Any) -> None:
        for name in _CLI_OPTIONS.keys() - _CHECKED_BY_BOTOCORE:
            setattr(parsed_args, name, _CLI_OPTIONS[name][1])

    def only_create_cluster(command_table: dict[str, Any], **_: Any) -> None:
        for name in set(command_table) - {"create-cluster"}:
            del command_table[name]

    def note_region(context: dict[str, Any], **_: Any) -> None:
        captured["region"] = context["client_region"]

    def capture(request: Any, **_: Any) -> Any:
        captured["request"] = json.loads(request.body)
        body = SimpleNamespace(stream=lambda: [b"{}"])
        return AWSResponse(request.url, 200, {}, body)  # with an answer, botocore sends nothing

    socket.getaddrinfo = _refuse_network
    socket.socket.connect = _refuse_network  # type: ignore[method-assign]
    # Only the AWS CLI's parsers can distinguish "create-cluster help" from the value of an option: "--tags a=b help".
    PagingHelpRenderer.render = functools.partial(_refuse_other_command, arguments)
    driver = create_clidriver()
    driver.alias_loader = AliasLoader(os.path.join(os.devnull, "none"))  # noqa: PTH118 - there is none
    events = driver.session.get_component("event_emitter")
    events.register("building-top-level-params", _add_version_2)
    events.register_first("top-level-args-parsed", note_ignored)
    # After the AWS CLI has read their values, so that what it refuses is refused here as well.
    events.register_last("top-level-args-parsed", reset_ignored)
    events.register_last("building-command-table.emr", only_create_cluster)
    events.register("before-call.emr.RunJobFlow", note_region)
    events.register("before-send.emr.RunJobFlow", capture)  # after botocore has created and signed it
    with contextlib.redirect_stdout(sys.stderr):
        status = driver.main(arguments)
    if status or "request" not in captured:
        return 2
    print(json.dumps({**captured, "ignored": ignored, "version": awscli.__version__}))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
