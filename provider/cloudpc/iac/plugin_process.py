"""The process in which the engine runs our dynamic provider: Pulumi's own host, with four things added.

Pulumi's host (`pulumi.dynamic`) serves four calls at a time, so four slow creates stall the whole update; it ignores
Cancel; it tells a provider neither the URN nor whether its caller is still there; and it prints tracebacks. It cannot
be subclassed (importing it starts it), but builds its server with `grpc.server`, which is where this module steps in:

* every call gets a thread of its own, so that Check and Diff never wait for a create;
* Cancel, SIGINT, SIGTERM and the death of the engine set `cancellation`, and running calls get a moment to clean up;
* `current_call()` says which resource a call is about;
* an exception reaches the user as one line, its traceback goes to a file (and to stderr with CLOUDPC_DEBUG set).

Should a later Pulumi build its server differently, the provider still works, without these; tests/engine_tools says so.
Importing this module is cheap and changes nothing; only `main` does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cloudpc.iac import startup
from cloudpc.iac.engine_log import displayed
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.errors import Cancelled, ProvisioningError
from cloudpc.model.masking import MaskingFormatter

if TYPE_CHECKING:
    import types
    from pathlib import Path

SECONDS_AFTER_SIGNAL = 4.0
"""What running calls get to clean up after a signal: the engine kills its plugins 5 s after SIGINT."""
SECONDS_AFTER_ENGINE_DEATH = 20.0
"""The same when the engine is gone, where nobody else ends this process."""

_MOST_CALLS_AT_ONCE = 4096
"""No limit in practice: the engine's --parallel is one, and threads are started only when all others are busy."""
_OPERATIONS = frozenset({"Check", "Diff", "Create", "Read", "Update", "Delete"})
_PARENT_CHECK_SECONDS = 0.5

cancellation = Cancellation()
CANCELLED = "CLOUDPC_CANCELLED"
"""A file that is made when the run was cancelled in the middle of something, for whoever started it."""
"""Set once this process is asked to stop; everything a provider waits for listens to it."""


class Refusal(Exception):  # noqa: N818 - what the provider decides, not what went wrong
    """A call that is refused on purpose; the message is complete and needs no traceback."""


@dataclass(frozen=True)
class Call:
    """What the engine asked for, as far as a dynamic provider's methods do not see it."""

    operation: str
    """Check, Diff, Create, Read, Update or Delete."""
    urn: str
    timeout: float | None
    """`customTimeouts` of the resource in seconds; the engine itself enforces none."""


_call: ContextVar[Call | None] = ContextVar("cloudpc_call", default=None)


def current_call() -> Call | None:
    """The call this thread is serving; None outside of one, so in threads that a provider has started itself."""
    return _call.get()


class _Calls:
    """The calls being served, so that leaving can wait for them.

    gRPC's own count will not do: it drops a call as soon as its client is gone, while the call still runs.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        with self._changed:
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def wait_for_none(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._running == 0, timeout=seconds)


_calls = _Calls()


def main() -> None:
    """Run Pulumi's dynamic provider host with our additions; the engine's address is the last argument."""
    engine = os.getppid()  # first: one that dies while we import is to be noticed, too
    startup.begin()
    # libvirt forks for ssh: gRPC's handlers of forks, which nothing here needs, would write a line into the run
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
    _log_to_file()
    _widen_and_watch_grpc_servers()
    _leave_on_signals()
    threading.Thread(target=_leave_with_parent, args=(engine,), name="engine watch", daemon=True).start()
    runpy.run_module("pulumi.dynamic", run_name="__main__")


# --- the server ---------------------------------------------------------------------------------------------------


def _widen_and_watch_grpc_servers() -> None:
    import grpc

    stock_server = grpc.server

    class Interceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
        def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
            handler = continuation(details)
            if handler is None or handler.unary_unary is None:
                return handler
            return grpc.unary_unary_rpc_method_handler(
                _served(details.method.rpartition("/")[2], handler.unary_unary),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )

    def server(thread_pool: Any = None, *args: Any, **kwargs: Any) -> Any:
        del thread_pool  # the stock host's has four threads; none has been started
        pool = futures.ThreadPoolExecutor(max_workers=_MOST_CALLS_AT_ONCE, thread_name_prefix="call")
        if not args:  # handlers and interceptors given by position are left alone
            kwargs["interceptors"] = (Interceptor(), *(kwargs.get("interceptors") or ()))
        threading.Thread(target=_import_provider, name="imports", daemon=True).start()
        return stock_server(pool, *args, **kwargs)

    grpc.server = server


def _import_provider() -> None:
    """Which Pulumi's host does only when it is first asked for something; until then the program is at work."""
    with contextlib.suppress(ImportError):  # it says so itself
        import_module("cloudpc.iac.provider")  # by its name, as Pulumi's host finds it


def _served(method: str, behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The stock host's implementation of a method, with what is ours around it."""
    import grpc

    if method == "Cancel":

        def cancel(request: Any, context: Any) -> Any:
            cancellation.cancel()
            return behaviour(request, context)

        return cancel
    if method == "Invoke":  # how a program has us started early (ahead.py); the stock host's fails over its own words

        def invoke(_: Any, context: Any) -> Any:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "dynamic providers have no functions")

        return invoke
    if method not in _OPERATIONS:

        def other(request: Any, context: Any) -> Any:
            try:
                return behaviour(request, context)
            except NotImplementedError:  # the engine finds out what a host can do by trying: not worth a log line
                context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not implemented by dynamic providers")

        return other

    def operation(request: Any, context: Any) -> Any:
        token = _call.set(
            Call(
                operation=method,
                urn=getattr(request, "urn", ""),
                timeout=getattr(request, "timeout", 0.0) or None,
            )
        )
        try:
            with _calls.one():
                return behaviour(request, context)
        except Exception as error:  # noqa: BLE001 - the last one to see it: the engine gets a line, the log the rest
            context.abort(grpc.StatusCode.UNKNOWN, _explain(method, getattr(request, "urn", ""), error))
        finally:
            _call.reset(token)

    return operation


# --- what users see of an exception -------------------------------------------------------------------------------

_logger = logging.getLogger("cloudpc.host")


def _explain(method: str, urn: str, error: Exception) -> str:
    """One line for the user; the traceback of what nobody expected goes to the log."""
    if isinstance(error, Cancelled):
        # on a terminal it is Pulumi that reads Ctrl-C; it ends then as after any failure
        if marker := os.environ.get(CANCELLED):
            os.close(os.open(marker, os.O_CREAT | os.O_WRONLY))
        return displayed(str(error)) or "stopped, because the run was cancelled"
    if isinstance(error, ProvisioningError | Refusal):
        return displayed(str(error))
    _logger.error("%s of %s failed", method, urn, exc_info=error)
    text = displayed(str(error)).strip() or "no message"
    where = f" (traceback in {_log_path})" if _log_path else ""
    return f"{type(error).__name__}: {text}{where}"


_log_path: Path | None = None


def _log_to_file() -> None:
    """Unexpected exceptions go to the user's state folder; gRPC's own reports of them too, instead of to stderr."""
    global _log_path
    import logging.handlers

    from cloudpc.files import folders

    handlers: list[logging.Handler] = []
    with contextlib.suppress(OSError, folders.NoHomeError):
        path = folders.log() / "provider.log"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        handlers.append(logging.handlers.RotatingFileHandler(path, maxBytes=1_000_000, backupCount=1, delay=True))
        _log_path = path
    if os.environ.get("CLOUDPC_DEBUG"):
        handlers.append(logging.StreamHandler(sys.stderr))
    form = MaskingFormatter("%(asctime)s %(process)d %(name)s %(levelname)s %(message)s")
    for handler in handlers or [logging.NullHandler()]:
        handler.setFormatter(form)
        for name in ("cloudpc", "grpc"):
            logger = logging.getLogger(name)
            logger.addHandler(handler)
            logger.propagate = False


# --- leaving ------------------------------------------------------------------------------------------------------


def _leave_on_signals() -> None:
    def handle(signum: int, frame: types.FrameType | None) -> None:
        del signum, frame
        # Not as KeyboardInterrupt: the stock host would stop serving at once, and a call that cleans up could no
        # longer answer. A thread, because a handler must not wait.
        threading.Thread(target=_leave, args=(SECONDS_AFTER_SIGNAL,), name="leave", daemon=True).start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)


def _leave_with_parent(engine: int) -> None:
    # kill -9 of the engine tells its plugins nothing. Its process id as our parent's is the one sign that works on
    # every system; PR_SET_PDEATHSIG follows the thread that started us, which Go may end at any time.
    while os.getppid() == engine:
        time.sleep(_PARENT_CHECK_SECONDS)
    _leave(SECONDS_AFTER_ENGINE_DEATH)


def _leave(seconds: float) -> None:
    cancellation.cancel()
    if _calls.wait_for_none(seconds):
        time.sleep(0.1)  # the last answers are on their way
    # Not sys.exit: it would wait for the threads of calls that did not listen.
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    # `python -m` runs this file as `__main__`; the provider imports it by name. Run the copy that it will see.
    from cloudpc.iac import plugin_process

    plugin_process.main()
