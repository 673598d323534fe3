"""A loop that answers `ok` to each line, and works when told: `WORK loop|thread|process own|library`. For Python
2.7 with Twisted 12.3.0, and for 3 with today's; on PyPy too. Called by run.py."""

import json
import multiprocessing
import sys
import time

from twisted.internet import reactor, threads
from twisted.protocols.basic import LineReceiver
from twisted.internet.protocol import Factory

WORK_MS = 50
clock = getattr(time, "perf_counter", time.time)


def own(rounds):
    """Bytecode, between whose instructions the interpreter may give way."""
    total = 0
    for number in range(rounds):
        total += number * number % 7
    return total


def library(document):
    """One call into C: nobody else runs Python until it returns, in a thread or not."""
    return len(json.loads(document))


def document_of(size):
    return json.dumps([{"id": number, "text": "tweet %d" % number, "at": [34.0, -118.5]} for number in range(size)])


def calibrated(work, argument_of, size):
    """An argument for which the work takes 50 ms here."""
    for _ in range(6):
        argument = argument_of(size)
        began = clock()
        work(argument)
        took = (clock() - began) * 1000
        if abs(took - WORK_MS) < 3:
            break
        size = max(1, int(size * WORK_MS / max(took, 0.01)))
    return argument_of(size)


ARGUMENTS = {}
WORKS = {"own": own, "library": library}


def work(kind):
    return WORKS[kind](ARGUMENTS[kind])


class Lines(LineReceiver):
    delimiter = b"\n"

    def lineReceived(self, line):
        if not line.startswith(b"WORK "):
            return self.sendLine(b"ok")
        where, kind = line.decode("ascii").split()[1:]
        done = lambda _: self.sendLine(b"done")  # noqa: E731
        if where == "loop":
            done(work(kind))
        elif where == "thread":
            threads.deferToThread(work, kind).addCallback(done)
        else:
            # The pool's own thread tells the loop; it only waits.
            threads.deferToThread(lambda: self.factory.pool.apply(work, (kind,))).addCallback(done)


def main():
    if len(sys.argv) > 2:
        sys.setswitchinterval(float(sys.argv[2]))
    for _ in range(3):  # a compiler, if there is one, has compiled it then
        ARGUMENTS["own"] = calibrated(own, int, 200000)
        ARGUMENTS["library"] = calibrated(library, document_of, 5000)
    factory = Factory()
    factory.protocol = Lines
    factory.pool = multiprocessing.Pool(2)  # forked, or with the arguments sent
    reactor.listenTCP(int(sys.argv[1]), factory, interface="127.0.0.1")
    sys.stderr.write("ready\n")
    sys.stderr.flush()
    reactor.run()


if __name__ == "__main__":
    main()
