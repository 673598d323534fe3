#!/usr/bin/env python3
"""Work of 50 ms on the loop, in a thread, in a process: how long do other clients wait?

    benches/threads/run.py [--seconds S] [--rounds N] [--old PYTHON] [--pypy PYTHON] [--only STACK]… [--two] --out FILE.csv

One client has one piece of work under way at all times; another asks every millisecond, open loop, and its
replies are timed from when each question was due. `own` is the language's own code, `library` one call into a
parser of JSON. Each server finds out at its start how much work takes 50 ms. On a quiet machine only, with
the server on one core (`one core`) or on both (`two cores`).

--two asks what scales instead: two clients have a piece of work each under way at all times, nobody else asks, and
what counts is how many pieces are done in a second.
"""

import argparse
import contextlib
import csv
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RATE = 1000  # questions a second


def stacks(options, scratch):
    """The command of each stack that is here; what must be compiled is."""
    twisted = options.target / "reference/twisted/bin/python"
    found = {"CPython 3": [twisted, HERE / "server.py"],
             "CPython 3, switch interval 0.5 ms": [twisted, HERE / "server.py", "PORT", "0.0005"],
             "CPython 2.7": options.old and [options.old, HERE / "server.py"],
             "PyPy": options.pypy and [options.pypy, HERE / "server.py"],
             "Node.js": shutil.which("node") and ["node", HERE / "server.js"],
             "Java": shutil.which("javac") and ["java", "-cp", scratch, "Server"],
             "Rust": shutil.which("rustc") and [f"{scratch}/server"]}
    found = {stack: words for stack, words in found.items() if words and (not options.only or stack in options.only)}
    if "Java" in found:
        subprocess.run(["javac", "-d", scratch, HERE / "Server.java"], check=True)
    if "Rust" in found:
        subprocess.run(["rustc", "-O", "-o", f"{scratch}/server", HERE / "server.rs"], check=True)
    return found


def cases(stack):
    for where in ("none", "loop", "thread", "process"):
        for kind in ("own", "library"):
            if where == "none" and kind == "library":
                continue
            if stack in ("Java", "Rust") and (kind == "library" or where == "process"):
                continue  # neither has a parser in its library, and a process would be the same as a thread
            yield where, kind


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def keep_working(port, where, kind, until, done):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        lines = connection.makefile("rb")
        while time.monotonic() < until:
            try:
                connection.sendall(f"WORK {where} {kind}\n".encode())
                lines.readline()
            except ConnectionError:  # all questions are answered: the server was ended
                return
            done.append(time.monotonic())


def ask(port, seconds):
    """The waits in milliseconds, each from when the question was due."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    count, began = int(seconds * RATE), time.monotonic() + 0.05
    waits = []

    def hear():
        lines = connection.makefile("rb")
        for number in range(count):
            if not lines.readline():
                return
            waits.append((time.monotonic() - began - number / RATE) * 1e3)

    hearer = threading.Thread(target=hear)
    hearer.start()
    for number in range(count):
        time.sleep(max(0, began + number / RATE - time.monotonic()))
        connection.sendall(b"hello\n")
    hearer.join(30)
    connection.close()
    return sorted(waits)


@contextlib.contextmanager
def served(words, cores):
    """The port of a server that runs meanwhile."""
    port = free_port()
    command = [str(port) if str(word) == "PORT" else str(word) for word in words]
    command = command if str(port) in command else command + [str(port)]
    server = subprocess.Popen(["taskset", "-c", cores, *command], stderr=subprocess.PIPE, text=True,
                              start_new_session=True)
    try:
        while (line := server.stderr.readline()) and "ready" not in line:
            pass
        yield port
    finally:
        os.killpg(server.pid, 9)
        server.wait()


def start_working(port, where, kind, seconds, done):
    arguments = (port, where, kind, time.monotonic() + seconds, done)
    threading.Thread(target=keep_working, args=arguments, daemon=True).start()


def measure(words, where, kind, seconds, cores):
    with served(words, cores) as port:
        done = []
        if where != "none":
            start_working(port, where, kind, seconds + 0.5, done)
            time.sleep(0.3)
        waits = ask(port, seconds)
        return waits, len(done) / seconds


def measure_two(words, where, kind, seconds, cores):
    with served(words, cores) as port:
        done = []
        for _ in range(2):
            start_working(port, where, kind, seconds + 1, done)
        time.sleep(0.5)
        began, before = time.monotonic(), len(done)
        time.sleep(seconds)
        return (len(done) - before) / (time.monotonic() - began)


def rows_of_tails(stack, words, cores, name, options):
    for where, kind in cases(stack):
        rounds = [measure(words, where, kind, options.seconds, cores) for _ in range(options.rounds)]
        found = {what: [waits[min(len(waits) - 1, int(len(waits) * share))] for waits, _ in rounds]
                 for what, share in (("p50", 0.5), ("p99", 0.99), ("max", 1))}
        found["works a second"] = [works for _, works in rounds]
        yield from ((stack, name, where, kind, quantity, values) for quantity, values in found.items())


def rows_of_two(stack, words, cores, name, options):
    for where, kind in cases(stack):
        if where != "none":
            works = [measure_two(words, where, kind, options.seconds, cores) for _ in range(options.rounds)]
            yield stack, name, where, kind, "works a second, two under way", works


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", type=Path, default=os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--old", help="the python of Twisted 12.3.0")
    parser.add_argument("--pypy", help="a pypy3 that has Twisted")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--out", default="threads.csv")
    parser.add_argument("--two", action="store_true", help="what scales: two pieces of work under way")
    options = parser.parse_args()
    kinds = rows_of_two if options.two else rows_of_tails
    os.sched_setaffinity(0, {os.cpu_count() - 1})  # the client keeps to the last core
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        every = {stack: words for stack, words in stacks(options, scratch).items()}
        for cores, name in (("0", "one core"), (f"0-{os.cpu_count() - 1}", "two cores")):
            for stack, words in every.items():
                for *row, values in kinds(stack, words, cores, name, options):
                    rows.append((*row, "1/s" if "second" in row[-1] else "ms",
                                 *(f"{value:.3f}" for value in (statistics.median(values), min(values), max(values))),
                                 options.rounds))
                    print(*rows[-1], flush=True)
                    with open(options.out, "w", newline="") as file:
                        writer = csv.writer(file, lineterminator="\n")
                        writer.writerow("stack cores where kind quantity unit median min max rounds".split())
                        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
