"""Programs in processes of their own, as a person at a terminal would run them."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
from pathlib import Path

ROOT = Path(__file__).parent.parent


class Program:
    """A program in a process of its own, whose output can be waited for line by line."""

    def __init__(self, *command: str | Path, **environment: str) -> None:
        self.printed: list[str] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_for(self, text: str) -> str:
        """Return the next line that holds ``text``."""
        while text not in (line := self.next_line()):
            pass
        return line

    def next_line(self) -> str:
        """Return the next line, when it is there."""
        line = self._next_line()
        if line is None:
            raise AssertionError(f"the program ended: {self.finish()}")
        return line

    def _next_line(self, timeout: float = 30) -> str | None:
        line = self._lines.get(timeout=timeout)
        if line is None:
            self._lines.put(None)  # for whoever asks again after the end
        else:
            self.printed.append(line)
        return line

    def runs_for(self, seconds: float) -> bool:
        """Wait so long, or until the program ends; return whether it still runs."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def interrupt(self) -> None:
        """Do what Ctrl-C in a terminal does: interrupt the process and those it has started."""
        os.killpg(self._process.pid, signal.SIGINT)

    def finish(self, timeout: float = 30) -> tuple[int, list[str], str]:
        """Wait for the end; return the exit code, all lines printed, and the error output."""
        assert self._process.stderr is not None
        errors = self._process.stderr.read()
        status = self._process.wait(timeout)
        while self._next_line(timeout) is not None:
            pass
        return status, self.printed, errors

    def close(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()
