"""What hosts are asked before anything is planned: all at once, and who is silent is not waited for for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Generic, TypeVar

from cloudpc.model.errors import ProvisioningError, unexpected_told
from cloudpc.model.text import with_hint

WITHIN = 10.0
"""Seconds that a run waits for its hosts' answers, from when it has asked; ssh may need several."""
_T = TypeVar("_T")


class Asked(Generic[_T]):
    """Questions to hosts by name, asked at once, each in a thread of its own; waited for when an answer is wanted.

    What a host says later is not for this run.

    Args:
        doing: comes before the host's name in the log.
        questions: raise what hosts' calls raise.
    """

    def __init__(self, doing: str, questions: Mapping[str, Callable[[], _T]]) -> None:
        self._until = time.monotonic() + WITHIN
        self._asking = {host: _Asking(f"{doing} {host}", question) for host, question in questions.items()}

    @cached_property
    def _settled(self) -> dict[str, _T | str]:
        return {host: asking.wait(self._until) for host, asking in self._asking.items()}

    @cached_property
    def answers(self) -> dict[str, _T]:
        """By host."""
        return {host: found for host, found in self._settled.items() if not isinstance(found, str)}

    @cached_property
    def silent(self) -> dict[str, str]:
        """Why there is no answer, by host."""
        return {host: found for host, found in self._settled.items() if isinstance(found, str)}


class _Asking(Generic[_T]):
    def __init__(self, doing: str, question: Callable[[], _T]) -> None:
        self._doing, self._question = doing, question
        self._found: _T | str = f"no answer within {WITHIN:.0f} s"
        self._thread = threading.Thread(target=self._ask, name=doing, daemon=True)
        self._thread.start()

    def wait(self, until: float) -> _T | str:
        self._thread.join(max(0.0, until - time.monotonic()))
        return self._found

    def _ask(self) -> None:
        try:
            with unexpected_told(self._doing):
                self._found = self._question()
        except ProvisioningError as error:
            self._found = with_hint(f"{error.message} [{error.code}]", error.hint)
