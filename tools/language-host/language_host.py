"""A language host for Python: what the engine calls to have this project's program run.

Pulumi's own, `pulumi-language-python`, comes with its installer and cannot be had as a Go module. It is used only where
Pulumi's own is absent.

For each run the engine starts two of these: one to ask what it is, which ends at once, and one that runs the program.
So what the first is asked is answered here without Pulumi's SDK, which takes longer to import than all the rest; what
needs the SDK is in `program_host.py`.
"""

from __future__ import annotations

import functools
import gc
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc

_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc ships no types
    """Of the engine's calls; requests and answers are protobuf's bytes, by language.proto and plugin.proto."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._without_sdk = {
            "GetPluginInfo": texts("0.1.0"),  # PluginInfo
            "About": texts(sys.executable, platform.python_version()),  # AboutResponse
            "Cancel": b"",  # Empty
        }

    def service(self, details: Any) -> Any:
        """What answers a call of this method."""
        answer = self._without_sdk.get(details.method.rpartition("/")[2])
        if answer is None:
            return self._with_sdk.service(details)
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: answer)

    @functools.cached_property
    def _with_sdk(self) -> Any:
        from pathlib import Path

        sys.path.insert(0, str(Path(__file__).resolve().parent))  # PYTHONSAFEPATH leaves it out
        import program_host

        return program_host.handlers(self._engine)


def texts(*values: str) -> bytes:
    """A protobuf message whose first fields, from number 1 on, are these texts."""
    # a path of Python's need not be UTF-8, and it is only shown
    return b"".join(_text(number, value.encode(errors="replace")) for number, value in enumerate(values, 1))


def _text(number: int, value: bytes) -> bytes:
    return bytes((number << 3 | 2, *_varint(len(value)))) + value


def _varint(number: int) -> Iterator[int]:
    while number > 127:
        yield number & 127 | 128
        number >>= 7
    yield number


def _leave(*_: object) -> None:
    sys.stdout.flush()
    os._exit(0)


def _leave_with_parent(engine: int) -> None:
    while os.getppid() == engine:  # kill -9 of the engine tells its plugins nothing
        time.sleep(0.5)
    _leave()


def main() -> None:
    """Serve until the engine is done with us; its address is the last argument."""
    # the program's modules stay: looking through them again and again costs a sixth of its start
    gc.set_threshold(10_000)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    threading.Thread(target=_leave_with_parent, args=(os.getppid(),), daemon=True).start()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), [Handlers(sys.argv[-1])], options=_UNLIMITED)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
