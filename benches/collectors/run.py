#!/usr/bin/env python3
"""What do collectors of garbage cost a reply? Tails at 10,000 and 1,000,000 clients beside the collectors' own logs.

    benches/collectors/run.py [--clients N]… [--seconds S] [--rate R] [--rounds N] [--old PYTHON] [--pypy PYTHON] --out FILE.csv

A server is told of N clients; then clients report at a steady rate, open loop, each reply timed from when its
report was due. Each stack in its default settings and in tuned ones:

    Twisted   gc.callbacks                        tuned: thresholds 100000,50,1000
    Node.js   --trace-gc                          tuned: --max-semi-space-size=64
    Java      -Xlog:gc (stop-the-world pauses)    tuned: -XX:+UseZGC -Xmx2g
    herd      has none

Of Twisted 12.3.0 (no callbacks in Python 2.7) and PyPy (its log counts the processor's ticks) only the tails.

On a quiet machine only: the server on the first core, this on the last.
"""

import argparse
import csv
import os
import re
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
REPORT = "IAMAT client{}.example.org +34.0689-118.4452 {:.9f}\n"


def settings(options):
    """Of each stack: its command, what its environment has besides, and how a pause reads in its log (seconds by)."""
    reference = ROOT / "tests/reference"
    python, node, java = options.target / "reference/twisted/bin/python", "node", "java"
    herd_py, herd_js, classes = reference / "twisted/herd.py", reference / "node/herd.js", options.target / "reference/java"
    site = {"PYTHONPATH": str(HERE / "site"), "HERD_GC_LOG": "gc.log"}
    seconds, milliseconds = (rb"^gen\d (\d+\.\d+)$", 1.0), (rb"(?:Scavenge|Mark-sweep|Mark-Compact).*? (\d+\.\d+) / ", 1e-3)
    pause = (rb"Pause .*?(\d+\.\d+)ms$", 1e-3)
    found = {
        ("Twisted", "default"): ([python, herd_py], site, seconds),
        ("Twisted", "tuned"): ([python, herd_py], {**site, "HERD_GC_THRESHOLD": "100000,50,1000"}, seconds),
        ("Node.js", "default"): ([node, "--trace-gc", herd_js], {}, milliseconds),
        ("Node.js", "tuned"): ([node, "--trace-gc", "--max-semi-space-size=64", herd_js], {}, milliseconds),
        ("Java", "default"): ([java, "-Xlog:gc:file=gc.log", "-cp", classes, "Herd"], {}, pause),
        ("Java", "tuned"): ([java, "-XX:+UseZGC", "-Xmx2g", "-Xlog:gc*:file=gc.log", "-cp", classes, "Herd"], {}, pause),
        ("herd", "default"): ([options.target / "release/herd"], {}, None),
    }
    if options.old:
        found["Twisted 12.3.0", "default"] = ([options.old, herd_py], {}, None)
    if options.pypy:
        found["PyPy", "default"] = ([options.pypy, herd_py], {}, None)
    return {key: value for key, value in found.items() if not options.only or key[0] in options.only}


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection, connection.makefile("rb")


def tell_of(port, clients):
    connection, replies = connect(port)
    for first in range(0, clients, 500):
        some = range(first, min(first + 500, clients))
        connection.sendall("".join(REPORT.format(client, 1e9) for client in some).encode())
        for _ in some:
            replies.readline()
    connection.close()


def ask(port, clients, seconds, rate):
    """Waits in milliseconds, in order of their length."""
    connection, replies = connect(port)
    count, began, waits = int(seconds * rate), time.monotonic() + 0.05, []

    def hear():
        for number in range(count):
            if not replies.readline():
                return
            waits.append((time.monotonic() - began - number / rate) * 1e3)

    hearer = threading.Thread(target=hear)
    hearer.start()
    for number in range(count):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        connection.sendall(REPORT.format(number * 7919 % clients, 1e9 + number).encode())
    hearer.join(60)
    connection.close()
    return sorted(waits)


def measure(setting, clients, options):
    words, besides, log = setting
    with tempfile.TemporaryDirectory() as folder:
        port, servers = free_port(), free_port()
        Path(folder, "topology.txt").write_text(f"A 127.0.0.1:{port} 127.0.0.1:{servers}\n")
        with open(f"{folder}/out", "wb") as out, open(f"{folder}/err", "wb") as err:
            server = subprocess.Popen(
                ["taskset", "-c", "0", *map(str, words), "serve", "A", "--topology", "topology.txt", "--log-dir", "logs",
                 "--data-dir", "data", "--twitter-url", "http://127.0.0.1:1/"], cwd=folder, stdout=out, stderr=err,
                env={**os.environ, **besides})
        try:
            while b"clients on" not in Path(folder, "err").read_bytes():
                if server.poll() is not None:
                    raise SystemExit(f"{words} ends: {Path(folder, 'err').read_text()}")
                time.sleep(0.02)

            def logged():
                files = [Path(folder, name) for name in ("gc.log", "out")]
                return b"".join(file.read_bytes() for file in files if file.exists())

            tell_of(port, clients)
            time.sleep(1)
            before = len(logged())
            waits = ask(port, clients, options.seconds, options.rate)
            pauses = [float(pause) * log[1] * 1e3 for pause in re.findall(log[0], logged()[before:], re.M)] if log else []
        finally:
            server.kill()
            server.wait()
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1}
    found = {name: waits[min(len(waits) - 1, int(len(waits) * share))] for name, share in shares.items()}
    return {**found, "pauses": len(pauses), "longest pause": max(pauses, default=0), "all pauses": sum(pauses)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", type=Path, default=os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--clients", type=int, action="append", default=[])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--old", help="the python of Twisted 12.3.0")
    parser.add_argument("--pypy", help="a PyPy that has Twisted")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--out", default="collectors.csv")
    options = parser.parse_args()
    os.sched_setaffinity(0, {os.cpu_count() - 1})
    rows = []
    for clients in options.clients or [10_000, 1_000_000]:
        for (stack, tuning), setting in settings(options).items():
            rounds = [measure(setting, clients, options) for _ in range(options.rounds)]
            for quantity in rounds[0]:
                values = [one[quantity] for one in rounds]
                rows.append((stack, tuning, clients, quantity, "" if quantity == "pauses" else "ms",
                             *(f"{value:.3f}" for value in (statistics.median(values), min(values), max(values))),
                             options.rounds))
            print(stack, tuning, clients, *(f"{row[3]} {row[5]}" for row in rows[-7:]), flush=True)
            with open(options.out, "w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow("stack setting clients quantity unit median min max rounds".split())
                writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
