#!/usr/bin/env python3
"""Which ratios held: the same ratios in several runs of `cargo bench --bench versus`, as a table.

    benches/compare.py RUN.csv…

Each run is a results.csv. A ratio that a run does not have is a dash.
"""

import csv
import sys
from pathlib import Path

THROUGHPUT, HTTP, FLOOD, MEMORY, LATENCY = "throughput", "http", "flood", "memory", "latency"
CPU, CPU_OF_THREE, CLIENT = "CPU per million", "CPU per million, all three", "resident per client"
RATIOS = [  # what, one system, another, section, setting, quantity
    ("CPU, 1 under way: herd, bare echo", "herd", "bare echo", THROUGHPUT, "pipeline 1", CPU),
    ("CPU, 16: herd, redis GEOADD", "herd", "redis GEOADD", THROUGHPUT, "pipeline 16", CPU),
    ("CPU, 128: herd, redis GEOADD", "herd", "redis GEOADD", THROUGHPUT, "pipeline 128", CPU),
    ("CPU, 16: herd without log, redis GEOADD", "herd, log off", "redis GEOADD", THROUGHPUT, "pipeline 16", CPU),
    ("CPU, 128: herd without log, redis GEOADD", "herd, log off", "redis GEOADD", THROUGHPUT, "pipeline 128", CPU),
    ("CPU, 16: echo that logs, bare echo", "logging echo", "bare echo", THROUGHPUT, "pipeline 16", CPU),
    ("CPU, 16: Java, herd", "Java", "herd", THROUGHPUT, "pipeline 16", CPU),
    ("CPU, 16: Node.js, herd", "Node", "herd", THROUGHPUT, "pipeline 16", CPU),
    ("CPU, 16: Twisted, herd", "Twisted", "herd", THROUGHPUT, "pipeline 16", CPU),
    ("CPU, 16: Twisted, Java", "Twisted", "Java", THROUGHPUT, "pipeline 16", CPU),
    ("CPU, 16: Twisted, Node.js", "Twisted", "Node", THROUGHPUT, "pipeline 16", CPU),
    ("CPU, 16: Twisted 12.3.0, Twisted", "Twisted 12.3.0", "Twisted", THROUGHPUT, "pipeline 16", CPU),
    ("CPU, 16: Twisted on PyPy, on CPython", "Twisted, PyPy", "Twisted", THROUGHPUT, "pipeline 16", CPU),
    ("CPU, 16: POST of JSON, line", "POST /v1/clients/ID", "IAMAT lines", HTTP, "pipeline 16", CPU),
    ("CPU, 16: GET /osmand, line", "GET /osmand", "IAMAT lines", HTTP, "pipeline 16", CPU),
    ("CPU, 16: POST /osmand, line", "POST /osmand", "IAMAT lines", HTTP, "pipeline 16", CPU),
    ("flood, 16: herd, NATS", "herd", "NATS", FLOOD, "50 x 16", CPU_OF_THREE),
    ("flood, 16: with keys, without", "herd with keys", "herd", FLOOD, "50 x 16", CPU_OF_THREE),
    ("flood, 16: Twisted, herd", "Twisted", "herd", FLOOD, "50 x 16", CPU_OF_THREE),
    ("over two links, idle: Twisted, herd", "Twisted", "herd", FLOOD, "2, behind C", "idle median"),
    ("p99 at 5,000/s: Twisted, herd", "Twisted", "herd", LATENCY, "5,000/s", "p99"),
    ("bytes a client: Twisted, herd", "Twisted", "herd", MEMORY, "1,000,000", CLIENT),
    ("bytes a client: Java, herd", "Java", "herd", MEMORY, "1,000,000", CLIENT),
]


def main():
    paths = [Path(name) for name in sys.argv[1:]]
    if not paths:
        sys.exit(__doc__)
    runs = []
    for path in paths:
        with path.open() as file:
            runs.append({(row["section"], row["system"], row["setting"], row["quantity"]): float(row["median"])
                         for row in csv.DictReader(file)})
    print("| ratio | " + " | ".join(path.stem for path in paths) + " |")
    print("|---|" + "--:|" * len(paths))
    for what, one, other, section, setting, quantity in RATIOS:
        keys = [(section, system, setting, quantity) for system in (one, other)]
        found = [f"{run[keys[0]] / run[keys[1]]:.2f}" if all(key in run for key in keys) else "-" for run in runs]
        print(f"| {what} | " + " | ".join(found) + " |")


if __name__ == "__main__":
    main()
