#!/usr/bin/env python
"""How long after a neighbour's return does Twisted's ReconnectingClientFactory dial it again?

    PYTHON benches/reconnection.py [--out FILE.csv]     with the python of any Twisted (2.7 and 12.3.0 too)

The real factory with its default waits, on a virtual clock (twisted.internet.task.Clock): a link is lost, each
dial is refused at once, and the neighbour is back after a given time. No time passes, so the machine does not
matter; the waits have jitter, so there are 2,001 trials, each from a seed.
"""

import argparse
import csv
import random
import sys

import twisted
from twisted.internet import protocol, task

TRIALS = 2001
AWAY = (1, 10, 60, 300, 3600, 8 * 3600)  # seconds


class Connector(object):
    """Refuses until the neighbour is back."""

    def __init__(self, clock, factory, back):
        self.clock, self.factory, self.back, self.connected_at = clock, factory, back, None

    def connect(self):
        if self.clock.seconds() >= self.back:
            self.connected_at = self.clock.seconds()
        else:
            self.factory.clientConnectionFailed(self, None)


def trial(seed, away, **waits):
    random.seed(seed)
    clock, factory = task.Clock(), protocol.ReconnectingClientFactory()
    factory.clock, factory.noisy = clock, False
    for name, value in waits.items():
        setattr(factory, name, value)
    connector = Connector(clock, factory, away)
    factory.clientConnectionLost(connector, None)
    while connector.connected_at is None:
        clock.advance(max(clock.getDelayedCalls()[0].getTime() - clock.seconds(), 0))
    return connector.connected_at - away


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out")
    options = parser.parse_args()
    rows = [("version", "waits", "away, s", "until it is dialled again, median, s", "95 %, s", "most, s", "trials")]
    for away in AWAY:
        for waits, settings in (("default", {}), ("of the herd on Twisted", {
                "initialDelay": 0.01, "delay": 0.01, "maxDelay": 0.4, "factor": 2})):
            if settings and away > 300:
                continue  # the same, and many dials
            trials = TRIALS if not settings else 51
            late = sorted(trial(seed, away, **settings) for seed in range(trials))
            rows.append((twisted.__version__, waits, away, "%.2f" % late[trials // 2],
                         "%.2f" % late[trials * 95 // 100], "%.2f" % late[-1], trials))
    out = open(options.out, "w") if options.out else sys.stdout
    csv.writer(out, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
