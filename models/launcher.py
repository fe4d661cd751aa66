"""Starts commands and measures them: time by the clock, CPU seconds, peak memory."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

# Starts a command and writes down what it used. What `wait4` tells of a process counts from its fork on, when it
# still is what started it: so a small process starts them, not this one, which may hold networks.
LAUNCHER = """
import os, sys, time
begin = time.perf_counter()
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(pid, 0)
seconds = time.perf_counter() - begin
with open(sys.argv[1], "w") as told:
    print(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss, file=told)
code = os.waitstatus_to_exitcode(status)
sys.exit(code if code >= 0 else 128 - code)
"""


@dataclass
class Finished:
    """A command that has ended."""

    status: int
    stdout: str
    stderr: str
    seconds: float
    cpu_seconds: float
    megabytes: float


def measured(command: list[str], folder: Path | None = None, limit: float | None = None) -> Finished:
    """Runs a command in a folder; one that takes longer than `limit` seconds is killed, and what it used is unknown."""
    with tempfile.TemporaryDirectory() as temporary:
        told = Path(temporary) / "used.txt"
        begin = time.monotonic()
        launched = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", LAUNCHER, str(told), *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            stdout, stderr = launched.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(launched.pid, signal.SIGKILL)
            stdout, _ = launched.communicate()
            stderr = f"error: stopped after {limit:.0f} s\n"
        used = told.read_text().split() if told.exists() else [time.monotonic() - begin, 0, 0]
    seconds, cpu_seconds, kibibytes = map(float, used)
    return Finished(launched.returncode, stdout, stderr, seconds, cpu_seconds, kibibytes / 1024)
