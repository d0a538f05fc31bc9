"""A subscription to try the demo in: `python -m tests.azure --help`."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack

from cloudpc.images import gallery
from cloudpc.model.errors import ProvisioningError
from tests.azure.arm import FakeArm
from tests.azure.clock import Delays
from tests.azure.guests import Guests, at_guests_pace
from tests.azure.linux_answers import LinuxAnswers
from tests.azure.local_guest import missing
from tests.azure.log import Logged
from tests.support.azure import entry
from tests.support.http_server import until_interrupted
from tests.support.project import REPO

_TOKEN = "CLOUDPC_AZURE_TOKEN"
_LIFETIME = 8 * 3600.0


def main(arguments: list[str] | None = None) -> int:
    """Run a subscription until Ctrl-C. Answers the exit code."""
    options = _parser().parse_args(arguments)
    with ExitStack() as running:
        try:
            guests = _guests(options.guests, running) if options.guests else None
            arm = FakeArm(port=options.port, back_end=guests, check=not options.no_check, on_request=_tell)
        except (ProvisioningError, ValueError) as error:
            print(error, file=sys.stderr)
            return 2
        except OSError as error:
            print(f"port {options.port}: {error.strerror}", file=sys.stderr)
            return 2
        arm.table.otherwise = LinuxAnswers()
        if guests:
            at_guests_pace(arm)
        if options.delays:
            arm.delays = Delays.azure()
        running.enter_context(arm)
        print(_how_to(arm, options), flush=True)
        until_interrupted()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.azure",
        description="A stand-in for a subscription of Microsoft Azure, on this machine's loopback: Resource Manager "
        "with virtual machines, their disks, network interfaces, run commands and networks. With --guests the machines "
        "are real: each is a guest under QEMU, and its ssh answers at the private address of its network interface.",
        epilog=f"The token is a new one at each start. What was made is gone when it ends. {_TOKEN} holds the token.",
    )
    parser.add_argument("--port", type=int, default=8366, help="of the endpoint; 0: any that is free (default: 8366)")
    parser.add_argument(
        "--guests", nargs="?", const="micro", metavar="RECIPE",
        help="boot a real guest for each machine: an image of vm-images/, whichever was ordered (default: micro)",
    )  # fmt: skip
    parser.add_argument("--delays", action="store_true", help="take about as long as Azure does")
    parser.add_argument("--no-check", action="store_true", help="don't check requests and answers against the contract")
    return parser


def _guests(recipe: str, running: ExitStack) -> Guests:
    if why := missing():
        raise ValueError(f"--guests {why}")
    guests = Guests(gallery.build(REPO / "vm-images", recipe, lambda text: print(text, flush=True)))
    running.callback(guests.close)
    return guests


def _how_to(arm: FakeArm, options: argparse.Namespace) -> str:
    host = {key: value for key, value in entry(arm).items() if value != {}}
    lines = [
        f"A subscription at {arm.url}; machines are "
        + (
            f"real guests of {options.guests}, with addresses of {arm.back_end.prefix}."
            if options.guests
            else "a table."
        ),
        "",
        "In stacks/Pulumi.<policy>.yaml, below config:",
        "  cloudpc:hosts:",
        f"    - {json.dumps(host)}",
        "In the shell that runs cloudpc:",
        f"  export {_TOKEN}={arm.token(_LIFETIME)}",
    ]
    return "\n".join([*lines, "", "Requests (Ctrl-C ends it):"])


def _tell(logged: Logged) -> None:
    print("".join(c if c.isprintable() else "?" for c in str(logged)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
