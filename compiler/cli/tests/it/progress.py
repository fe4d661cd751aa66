"""Runs a command whose standard error is a terminal; prints what it said on both as JSON.

    python3 progress.py COMMAND [WORD ...]
"""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading

ours, theirs = pty.openpty()
fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
command = subprocess.Popen(
    sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"}
)
os.close(theirs)
drawn = []


def read():
    # A terminal that nobody writes to any more fails to be read.
    try:
        while part := os.read(ours, 4096):
            drawn.append(part)
    except OSError:
        pass


thread = threading.Thread(target=read)
thread.start()
out = command.stdout.read()
status = command.wait()
thread.join()
json.dump({"status": status, "out": out.decode(), "terminal": b"".join(drawn).decode()}, sys.stdout)
