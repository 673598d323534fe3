#!/usr/bin/env python3
"""Whether the lines of Twisted 12.3.0 that the notes and the report name say what they are named for.

    docs/report/check_lines.py FOLDER    the unpacked source distribution (Twisted-12.3.0)
"""

import sys
from pathlib import Path

SAYS = {  # file, line: what must stand there
    ("internet/base.py", 757): "def timeout", ("internet/base.py", 770): "self.threadCallQueue",
    ("internet/base.py", 920): "def callFromThread", ("internet/base.py", 936): "ThreadPool(",
    ("internet/base.py", 1176): "def mainLoop", ("internet/epollreactor.py", 256): "EPOLLIN",
    ("internet/epollreactor.py", 352): "def doPoll", ("internet/epollreactor.py", 364): "poll(timeout, len(",
    ("internet/posixbase.py", 242): "def _disconnectSelectable", ("internet/posixbase.py", 572): "def _doReadOrWrite",
    ("internet/posixbase.py", 621): "except:", ("internet/posixbase.py", 622): "Any exception from application code",
    ("internet/tcp.py", 208): "recv(self.bufferSize)", ("internet/tcp.py", 270): "def readConnectionLost",
    ("internet/tcp.py", 898): "backlog = 50", ("internet/tcp.py", 1002): "numberAccepts = 100",
    ("internet/tcp.py", 1041): "EMFILE", ("internet/abstract.py", 176): "SEND_LIMIT = 128*1024",
    ("internet/abstract.py", 334): "def write(", ("internet/abstract.py", 343): "must not be unicode",
    ("internet/abstract.py", 381): "def loseConnection", ("internet/abstract.py", 445): "bufferSize = 2**2**2**2",
    ("protocols/basic.py", 538): r"delimiter = b'\r\n'", ("protocols/basic.py", 539): "MAX_LENGTH = 16384",
    ("protocols/basic.py", 568): "self._buffer.split(", ("internet/protocol.py", 320): "maxDelay = 3600",
    ("internet/defer.py", 667): "def __del__", ("internet/threads.py", 22): "def deferToThreadPool",
    ("web/_newclient.py", 1292): "_finishedRequest = Deferred()",
}


def main():
    root = Path(sys.argv[1]) / "twisted"
    wrong = [f"{file}:{line} has no {words!r}" for (file, line), words in SAYS.items()
             if words not in (root / file).read_text().splitlines()[line - 1]]
    print("\n".join(wrong) if wrong else f"{len(SAYS)} lines say what they are named for")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
