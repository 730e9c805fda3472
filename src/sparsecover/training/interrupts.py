"""Ctrl-C and SIGTERM during training: finish the step, save, then leave."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Terminated(SystemExit):
    """SIGTERM came and the state was saved; uncaught, the process ends with 143."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class Interrupts:
    """Holds back the first Ctrl-C or SIGTERM inside a ``with`` block; the second one acts at once.

    Only the main thread receives signals; in any other one this does nothing.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._hold)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def raise_received(self) -> None:
        """Raise what was held back.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            Terminated: after SIGTERM.
        """
        if self.received is signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is signal.SIGTERM:
            raise Terminated

    def _hold(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
