"""Processes on this machine that train along: started, watched, and ended.

lightning-fabric would start them, too, but where one fails it kills all others, this one among them, without a word.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from typing import Self

_POLL_S = 0.5
_GRACE_S = 10.0  # in which a process notices by itself that another one has gone


class Helpers:
    """Processes that run the same command as this one, each with a number of its own."""

    def __init__(self, started: list["subprocess.Popen[bytes]"]) -> None:
        self._started, self._ended = started, False
        threading.Thread(target=self._watch, name="helpers", daemon=True).start()

    @classmethod
    def start(cls, devices: int, nodes: int) -> Self:
        """Make this process the first of ``devices`` on its machine, as torchrun would, and start the others."""
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", str(_free_port()))
        os.environ.setdefault("NODE_RANK", "0")
        os.environ |= {"LOCAL_RANK": "0", "WORLD_SIZE": str(devices * nodes)}
        command = [sys.executable, *sys.orig_argv[1:]]
        return cls(
            [subprocess.Popen(command, env=os.environ | {"LOCAL_RANK": str(n)}) for n in range(1, devices)],
        )

    def failure(self, wait_s: float = 0.0) -> str | None:
        """How the first one that failed has ended; None where none did within ``wait_s``."""
        deadline = time.monotonic() + wait_s
        while True:
            for number, process in enumerate(self._started, start=1):
                if process.poll():
                    return f"process {number} of {len(self._started) + 1} has ended {_how(process.returncode)}"
            if time.monotonic() >= deadline:
                return None
            time.sleep(_POLL_S / 10)

    def end(self) -> None:
        """End all that are left."""
        self._ended = True
        for process in self._started:
            process.kill()

    def _watch(self) -> None:
        """End this process where another one has failed and this one, waiting for it, does not notice."""
        while self.failure() is None:
            if all(process.poll() == 0 for process in self._started):
                return
            time.sleep(_POLL_S)
        time.sleep(_GRACE_S)
        if not self._ended:
            self.end()
            print(f"Error: {self.failure()}. What it said is above.", file=sys.stderr, flush=True)
            os._exit(2)  # a collective on GPUs waits for ever, deaf to anything milder


def follow_parent() -> None:
    """End this process when the one that started it has gone: it would wait for it for ever."""
    parent = os.getppid()

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_S)
        time.sleep(_GRACE_S)
        os._exit(2)

    threading.Thread(target=follow, name="parent", daemon=True).start()


def _how(code: int) -> str:
    return f"with exit code {code}" if code > 0 else f"by signal {-code} (memory may have run short)"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
