#!/usr/bin/env python3
"""One client's line meets a bug: who suffers, for how long, and who hears of it?

    benches/blast/run.py [--target DIR] [--rust-copy DIR] [--only STACK]… --out FILE.csv

The same two bugs in a copy of each implementation (`*.blast` beside this file, in the form that
benches/faults/run.py describes):

    line     a client's line raises the language's ordinary run-time error in its handler
    answer   so does the handler of what Twitter answered to a client's question

Three servers in a line, A - B - C; a client of A's meets the bug, another client of A's and one of B's
look on. A supervisor starts A again a tenth of a second after it has ended, as systemd would with
Restart=always and RestartSec=100ms. Nothing is measured but what can be seen from outside.
"""

import argparse
import csv
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "benches/faults"))
import run as faults  # noqa: E402

RESTART = 0.1  # seconds
MESSAGES_MAX = 300_000  # of another client, until an error is told that was not told by then
WATCH = 12.0  # seconds after the bug; a question of a client is given up after 10
STACKS = {"Twisted": "python", "Node.js": "javascript", "Java": "java", "herd": "rust"}


class Twitter(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"results":[]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server:
    """One server; a supervisor starts it again whenever it ends."""

    def __init__(self, command, name, directory, twitter):
        self.words = command.split() + ["serve", name, "--topology", f"{directory}/topology.txt", "--log-dir",
                                        f"{directory}/logs", "--data-dir", f"{directory}/data", "--twitter-url", twitter]
        self.said, self.ended, self.stopping, self.process = [], [], False, None
        self.thread = threading.Thread(target=self.supervise, daemon=True)
        self.thread.start()

    def supervise(self):
        while not self.stopping:
            environment = {**os.environ, "RUST_BACKTRACE": "0"}  # as an operator has it: unset
            self.process = subprocess.Popen(self.words, stderr=subprocess.PIPE, text=True, env=environment)
            for line in self.process.stderr:
                self.said.append((time.monotonic(), line.rstrip()))
            self.ended.append((time.monotonic(), self.process.wait()))
            time.sleep(RESTART)

    def wait_for(self, words, since=0.0, timeout=60):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for at, line in list(self.said):
                if at >= since and words in line:
                    return at
            time.sleep(0.01)
        raise SystemExit(f"nobody said {words!r}: {self.said}")

    def stop(self):
        self.stopping = True
        self.process.kill()
        self.thread.join()


class Client:
    """A connection whose end is noticed."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.lines, self.lost = [], None
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for line in self.socket.makefile("rb"):
                self.lines.append((time.monotonic(), line))
        except OSError:
            pass
        self.lost = time.monotonic()

    def say(self, text):
        self.socket.sendall(text.encode() + b"\n")

    def replied(self, since, timeout):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for at, line in self.lines:
                if at >= since:
                    return line
            if self.lost:
                return None
            time.sleep(0.01)
        return None


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def is_known(port, client):
    """Whether a server knows a client; None if it does not serve."""
    try:
        asker = Client(port)
        asker.say(f"WHATSAT {client} 1 1")
        line = asker.replied(0, 5) or b""
        return line.startswith(b"AT ")
    except OSError:
        return None


def observe(command, fault, directory, twitter):
    ports = free_ports(6)
    rows = [f"{name} 127.0.0.1:{ports[2 * at]} 127.0.0.1:{ports[2 * at + 1]} {links}\n"
            for at, (name, links) in enumerate((("A", "B"), ("B", "C"), ("C", "")))]
    (directory / "topology.txt").write_text("".join(rows))
    servers = {name: Server(command, name, directory, twitter) for name in "ABC"}
    try:
        for name, other in ("AB", "BA", "BC", "CB"):
            servers[name].wait_for(f"link to {other} is up")
        victim, beside, elsewhere = Client(ports[0]), Client(ports[0]), Client(ports[2])
        beside.say("IAMAT beside +10+010 1")
        beside.replied(0, 10)
        began = time.monotonic()
        victim.say("BOOM" if fault.id == "line" else "WHATSAT beside 1 1")
        reply = victim.replied(began, WATCH)
        time.sleep(max(0.0, began + WATCH - time.monotonic()))
        ended = [at for at, _ in servers["A"].ended if at >= began]

        def told():
            """What the server has said of it: the line that names the error, or else the first."""
            said = [(at, line) for at, line in servers["A"].said if at >= began
                    and not any(words in line for words in ("link to", "clients on", "cannot reach"))]
            named = [one for one in said if re.search(r"(Error|Exception\b.*):|panicked", one[1])]
            return (said[0][0], (named or said)[0][1]) if said else None

        messages = 0  # a collector may have to come first
        while fault.id == "answer" and told() is None and messages < MESSAGES_MAX and not beside.lost:
            lines, since = [f"IAMAT beside +10+010 {messages + at}" for at in range(1000)], len(beside.lines)
            beside.say("\n".join(lines))
            messages += len(lines)
            while len(beside.lines) < since + len(lines) and not beside.lost:
                time.sleep(0.01)
        told = told()
        after = lambda at: "" if at is None else f"{at - began:.3f}"  # noqa: E731
        return {
            "its client": "lost" if victim.lost else "waits for ever" if reply is None else
                          "answered by an error" if any(b'"error"' in line for _, line in victim.lines) else "answered",
            "other clients of the server": "lost" if beside.lost else "served",
            "clients of other servers": "lost" if elsewhere.lost else "served",
            "the server": f"ends ({len(ended)} times)" if ended else "goes on",
            "its links": "down" if any("is down" in line for at, line in servers["B"].said if at >= began) else "up",
            "known to it afterwards": "" if fault.id == "answer" else
                                      {True: "all", False: "nothing", None: "it does not serve"}[is_known(ports[0], "beside")],
            "told on standard error": told[1][:120] if told else "nothing",
            "told after, messages": messages if told else f"more than {messages}",
            "told after, s": after(told[0] if told else None),
            "client lost after, s": after(victim.lost),
        }
    finally:
        for server in servers.values():
            server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default=ROOT / "target")
    parser.add_argument("--rust-copy")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--old", help="the python of Twisted 12.3.0 (tests/reference/twisted/venv.sh DIR --old …)")
    parser.add_argument("--apply-only", action="store_true", help="only see whether each bug can be applied")
    parser.add_argument("--out", default="blast.csv")
    options = parser.parse_args()
    faults.HERE = HERE
    faults.apply_each([fault for language in STACKS.values() for fault in faults.read_faults(language)])
    if options.apply_only:
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are ended too
    twitter = ThreadingHTTPServer(("127.0.0.1", 0), Twitter)
    threading.Thread(target=twitter.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{twitter.server_port}/"
    tools = SimpleNamespace(target=options.target, tests=HERE, threads=1, rust_copy=options.rust_copy,
                            suspects_only=True, no_tests=False)
    bench, rows = faults.Bench(tools), []
    for stack, language in STACKS.items():
        for fault in faults.read_faults(language) if not options.only or stack in options.only else ():
            copy, _, start = bench.prepare(fault)
            if start is None:
                raise SystemExit(f"{stack}: the bug cannot be built")
            starts = {stack: start}
            if stack == "Twisted" and options.old:
                starts["Twisted 12.3.0"] = f"{options.old} {copy / 'herd.py'}"
            for name, command in starts.items():
                with tempfile.TemporaryDirectory() as directory:
                    row = {"stack": name, "bug": fault.id, **observe(command, fault, Path(directory), url)}
                rows.append(row)
                print(row, flush=True)
            shutil.rmtree(copy)
    with open(options.out, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
