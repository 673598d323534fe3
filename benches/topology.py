#!/usr/bin/env python3
"""Real servers in any shape: when does each hear of an update, what does it cost, and how does one catch up?

    benches/topology.py [--shape assignment|line|star|ring|tree|mesh] [--servers N] [--updates N] [--rate R]
                        [--down SECONDS] [--round N] --server COMMAND --name STACK --out FILE.csv
    benches/topology.py --table FILE.csv

COMMAND is one that HERD_SERVER would take: `target/release/herd`, `PYTHON tests/reference/twisted/herd.py`, …
Clients of the first server report, at a steady rate. Delays are differences of the servers' own log records: from the
line of the client at the first server to the AT line at another, by one clock. With `--down`, the last server
is stopped (SIGTERM), the reports go on for so long, it is started again, and the time is taken from its start until
its log has the last report. Appends to FILE. On a quiet machine only. `--table` prints what a file has of shapes, as
Markdown: medians of its rounds.
"""

import argparse
import csv
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ASSIGNMENT = [("Blake", "Bryant"), ("Blake", "Howard"), ("Gasol", "Bryant"), ("Gasol", "Howard"), ("Metta", "Bryant")]
RECORD = re.compile(rb"^\d{4}-\d\d-\d\dT(\d\d):(\d\d):(\d\d)\.(\d{9})Z (.) (\S+) (.*)$", re.M)


def shape(name, count):
    """Names and links; the first server is the one that clients report to, the last is far from it."""
    if name == "assignment":
        return ["Blake", "Bryant", "Howard", "Gasol", "Metta"], ASSIGNMENT
    names = [f"S{number:02}" for number in range(count)]
    pairs = {
        "line": [(at, at + 1) for at in range(count - 1)],
        "star": [(count // 2, at) for at in range(count) if at != count // 2],
        "ring": [(at, (at + 1) % count) for at in range(count)] if count > 2 else [(0, 1)],
        "tree": [((at - 1) // 2, at) for at in range(1, count)],
        "mesh": [(one, two) for one in range(count) for two in range(one + 1, count)],
    }[name]
    return names, [(names[one], names[two]) for one, two in pairs]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Herd:
    def __init__(self, command, names, links, folder):
        self.command, self.names, self.folder = command.split(), names, folder
        self.neighbours = {name: {a for a, b in links if b == name} | {b for a, b in links if a == name} for name in names}
        ports = free_ports(2 * len(names))
        self.port = dict(zip(names, ports))
        rows = [f"{name} 127.0.0.1:{ports[at]} 127.0.0.1:{ports[at + len(names)]} "
                f"{' '.join(b for a, b in links if a == name)}\n" for at, name in enumerate(names)]
        (folder / "topology.txt").write_text("".join(rows))
        self.processes, self.spent = {}, dict.fromkeys(names, 0.0)

    def start(self, name):
        with open(self.folder / f"{name}.err", "w") as said:
            self.processes[name] = subprocess.Popen(
                [*self.command, "serve", name, "--topology", "topology.txt", "--log-dir", "logs", "--data-dir", "data",
                 "--twitter-url", "http://127.0.0.1:1/"], cwd=self.folder, stderr=said)

    def linked(self, names, timeout=120):
        deadline = time.monotonic() + timeout
        for name in names:
            for other in self.neighbours[name]:
                while f"link to {other} is up" not in (self.folder / f"{name}.err").read_text():
                    if time.monotonic() > deadline:
                        raise SystemExit(f"{name} is not linked to {other} after {timeout} s")
                    time.sleep(0.02)

    def cpu(self, name):
        """Seconds of processor time."""
        fields = Path(f"/proc/{self.processes[name].pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def records(self, name):
        """Moments in seconds since midnight, direction, text."""
        log = (self.folder / f"logs/{name}.log").read_bytes()
        for hour, minute, second, nanos, direction, label, text in RECORD.findall(log):
            yield int(hour) * 3600 + int(minute) * 60 + int(second) + int(nanos) / 1e9, direction, label, text

    def knows(self, name, client, timeout=600):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if f" {client} ".encode() in (self.folder / f"logs/{name}.log").read_bytes():
                return time.monotonic()
            time.sleep(0.01)
        raise SystemExit(f"{name} has not heard of {client} after {timeout} s")

    def stop(self):
        for process in self.processes.values():
            process.kill()
            process.wait()


def report(port, prefix, count, rate):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines, began = connection.makefile("rb"), time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            connection.sendall(f"IAMAT {prefix}{number} +34.0689-118.4452 {time.time():.9f}\n".encode())
            lines.readline()


def measure(herd, options):
    first, last = herd.names[0], herd.names[-1]
    for name in herd.names:
        herd.start(name)
    herd.linked(herd.names)
    time.sleep(0.5)
    before = {name: herd.cpu(name) for name in herd.names}
    report(herd.port[first], "x", options.updates, options.rate)
    for name in herd.names:
        herd.knows(name, f"x{options.updates - 1}")
    time.sleep(1.5)  # the mark that follows belongs to the updates
    spent = {name: herd.cpu(name) - before[name] for name in herd.names}
    said = {text.split()[1]: at for at, direction, _, text in herd.records(first)
            if direction == b"<" and text.startswith(b"IAMAT x")}
    messages = 0
    for name in herd.names:
        heard = {}
        for at, direction, label, text in herd.records(name):
            if text.startswith(b"AT ") and label.startswith(b"s"):
                messages += direction == b">"
                if direction == b"<":
                    heard.setdefault(text.split()[3], at)
        delays = sorted((heard[client] - at) * 1e6 for client, at in said.items() if client in heard)
        if name != first:
            yield name, "delay, median", "µs", statistics.median(delays)
            yield name, "delay, p99", "µs", delays[len(delays) * 99 // 100]
        yield name, "CPU an update", "µs", spent[name] * 1e6 / options.updates
    yield "all", "CPU an update", "µs", sum(spent.values()) * 1e6 / options.updates
    yield "all", "messages an update", "", messages / options.updates
    if options.down:
        herd.processes[last].terminate()
        herd.processes[last].wait()
        report(herd.port[first], "y", max(1, int(options.down * options.rate)), options.rate)
        began = time.monotonic()
        herd.start(last)
        client = f"y{max(1, int(options.down * options.rate)) - 1}"
        yield last, f"catch-up after {options.down:g} s", "s", herd.knows(last, client) - began


def table(path):
    """A row for each shape and number of servers."""
    values, links = {}, {}
    with open(path) as file:
        for row in csv.DictReader(file):
            herd = int(row["servers"]), row["shape"]
            links[herd] = row["links"]
            values.setdefault(herd, {}).setdefault((row["server"], row["quantity"]), []).append(float(row["value"]))
    print("| shape, servers | links | messages an update | delay to the farthest, µs | its p99, µs | CPU of all, µs | of the busiest, µs |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for (servers, shape), of in values.items():
        median = {key: statistics.median(rounds) for key, rounds in of.items()}
        most = lambda quantity: max(value for (server, of), value in median.items() if of == quantity and server != "all")
        print(f"| {shape}, {servers} | {links[servers, shape]} | {median['all', 'messages an update']:.0f} | "
              f"{most('delay, median'):.0f} | {most('delay, p99'):.0f} | {median['all', 'CPU an update']:.0f} | {most('CPU an update'):.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="assignment", choices="assignment line star ring tree mesh".split())
    parser.add_argument("--servers", type=int, default=5)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--down", type=float, default=0)
    parser.add_argument("--round", default="1")
    parser.add_argument("--server")
    parser.add_argument("--name")
    parser.add_argument("--out", default="topology.csv")
    parser.add_argument("--table")
    options = parser.parse_args()
    if options.table:
        return table(options.table)
    if not (options.server and options.name):
        parser.error("wanted are --server and --name, or --table")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are ended too
    names, links = shape(options.shape, options.servers)
    # Not resolved: the python of an environment is a link to one that lacks its packages.
    words = [str(ROOT / word) if (ROOT / word).exists() else word for word in options.server.split()]
    with tempfile.TemporaryDirectory() as folder:
        herd = Herd(" ".join(words), names, links, Path(folder))
        try:
            rows = [(options.name, options.shape, len(names), len(links), *row[:3], f"{row[3]:.3f}", options.round)
                    for row in measure(herd, options)]
        finally:
            herd.stop()
    is_new = not Path(options.out).exists()
    with open(options.out, "a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow("stack shape servers links server quantity unit value round".split())
        writer.writerows(rows)
    for row in rows:
        if row[4] == "all" or row[4] == names[-1]:
            print(*row)


if __name__ == "__main__":
    sys.exit(main())
