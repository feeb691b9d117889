"""Running programs, and telling how far the whole has come."""

import json
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager


class Clock:
    """Says how far the training has come. Stages have nominal seconds; what is left is expected to take as much
    longer than that as what is done did. Adds the time of every stage to the file `record`."""

    def __init__(self, record):
        self.record = record
        self.begin = time.monotonic()
        self.planned = self.nominal = self.taken = 0

    @contextmanager
    def stage(self, title, seconds):
        begin = time.monotonic()
        pace = self.taken / self.nominal if self.nominal else 1
        left = (self.planned - self.nominal) * pace
        print(f"\n=== {title} ({(begin - self.begin) / 60:.1f} min passed, about {left / 60:.1f} min of training left)",
              flush=True)
        yield
        taken = time.monotonic() - begin
        self.taken += taken
        self.nominal += seconds
        with open(self.record, "a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": title, "seconds": round(taken, 1)}) + "\n")


def show(command):
    print("$ " + shlex.join(map(str, command)), flush=True)


def run(command, keep=False):
    """Runs a program and shows its command line; with `keep` returns what it printed. When Ctrl-C or SIGTERM stops
    it, it saves where it is, and is waited for."""
    show(command)
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE if keep else None)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    stopped = False
    while True:
        try:
            printed, _ = process.communicate()
            break
        except KeyboardInterrupt:  # the program has had it too
            stopped = True
    if stopped or process.returncode != 0:
        reason = "stopped" if stopped else f"{command[0]} ended with status {process.returncode}"
        sys.exit(f"{reason}; the same command goes on from here")
    if keep:
        printed = printed.decode("utf-8", errors="replace").rstrip("\n")
        print(printed, flush=True)
    return printed
