"""How long `sparsecover ... --help` takes in a fresh process, against an empty Python: best of five."""

import subprocess
import sys
import time

from sparsecover.cli import COMMANDS

LIMIT_S = 0.3


def seconds(arguments: list[str]) -> float:
    """Best of five runs."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(arguments, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print one line a command."""
    print(f"{'python -c pass':28} {seconds([sys.executable, '-c', 'pass']):.3f} s")
    for command in ("", *COMMANDS):
        arguments = [sys.executable, "-m", "sparsecover", *([command] if command else []), "--help"]
        spent = seconds(arguments)
        print(f"sparsecover {command:16} {spent:.3f} s  {'ok' if spent < LIMIT_S else 'over'} (limit {LIMIT_S} s)")


if __name__ == "__main__":
    main()
