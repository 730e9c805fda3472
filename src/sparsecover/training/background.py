"""Threads that work ahead, and that can be left behind when they hang.

Python waits at its end for the threads of ``concurrent.futures``; one that hangs in a read from a dead network drive
would keep a failed training from ever ending.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Some daemon threads that do tasks in their order."""

    def __init__(self, threads: int) -> None:
        self._tasks: SimpleQueue[tuple[Future[T], Callable[[], T]] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name="windows", daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Have a task done; its result or error comes with the future."""
        future: Future[T] = Future()
        self._tasks.put((future, lambda: function(*arguments)))
        return future

    def close(self, *, wait: bool) -> None:
        """End the threads after the tasks that were not cancelled; ``wait`` for that, unless one hangs."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            future, function = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except BaseException as error:  # it belongs to the one who asks for the result
                future.set_exception(error)
