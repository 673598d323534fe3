#!/usr/bin/env python3
"""Which ratios held: the same ratios in several runs of `cargo bench --bench versus`, as a table.

    benches/compare.py RUN.csv…
    benches/compare.py --check

Each run is a results.csv. A ratio that a run does not have is a dash. --check sees whether docs/BENCHMARKS.md and the
record's README.md say what the runs of the record say.
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


ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "docs/benchmarks/2026-11-30"

# What BENCHMARKS.md says, with what goes into the braces: of a ratio or a figure the least and the most of all runs.
# A ratio whose name begins with / is turned over; a figure that begins with = is that of the latest run alone.
CLAIMS = [
    ("| Redis `GEOADD`, 16 messages in flight on each connection | {}; without the log {} |",
     "CPU, 16: herd, redis GEOADD", "CPU, 16: herd without log, redis GEOADD"),
    ("| Redis `GEOADD`, 128 in flight | {}; without the log {} |",
     "CPU, 128: herd, redis GEOADD", "CPU, 128: herd without log, redis GEOADD"),
    ("| a bare echo, one in flight | {} |", "CPU, 1 under way: herd, bare echo"),
    ("| the same herd on Twisted, 16 in flight | {} |", "/CPU, 16: Twisted, herd"),
    ("| the same herd on Node.js, 16 in flight | {} |", "/CPU, 16: Node.js, herd"),
    ("| the same herd on Java, 16 in flight | {} |", "/CPU, 16: Java, herd"),
    ("| NATS: an update through three servers in a line | {} |", "flood, 16: herd, NATS"),
    ("A report over HTTP costs {} times an `IAMAT` line as JSON, {} as OsmAnd's GET",
     "CPU, 16: POST of JSON, line", "CPU, 16: GET /osmand, line"),
    ("Links with keys cost {} times what plain ones do", "flood, 16: with keys, without"),
    ("- {} messages a second with 16 in flight on each connection; {} with one.",
     (THROUGHPUT, "herd", "pipeline 16", "messages"), (THROUGHPUT, "herd", "pipeline 1", "messages")),
    ("Through three servers in a line: {} updates a second on one core.", (FLOOD, "herd", "50 x 16", "updates")),
    ("an update reaches the last server after {} µs.", (FLOOD, "herd", "2, behind C", "idle median")),
    ("- {} bytes for each of a million clients; {} for an idle connection, {} once it has spoken.",
     ("=" + MEMORY, "herd", "1,000,000", CLIENT), ("=" + MEMORY, "herd", "idle", "resident per connection"),
     ("=" + MEMORY, "herd", "after a message", "resident per connection")),
]


def read(path):
    with path.open() as file:
        return {(row["section"], row["system"], row["setting"], row["quantity"]): float(row["median"])
                for row in csv.DictReader(file)}


def ratios(name, runs):
    """A ratio in each run that has it, `None` in the others."""
    _, one, other, section, setting, quantity = next(ratio for ratio in RATIOS if ratio[0] == name)
    keys = [(section, system, setting, quantity) for system in (one, other)]
    return [run[keys[0]] / run[keys[1]] if all(key in run for key in keys) else None for run in runs]


def table(paths):
    runs = [read(path) for path in paths]
    yield "| ratio | " + " | ".join(path.stem for path in paths) + " |"
    yield "|---|" + "--:|" * len(paths)
    for what, *_ in RATIOS:
        found = ["-" if ratio is None else f"{ratio:.2f}" for ratio in ratios(what, runs)]
        yield f"| {what} | " + " | ".join(found) + " |"


def said(of, runs):
    """A figure or ratio as the documents write it: ratios with two decimals, figures with three digits."""
    if isinstance(of, str):
        found = [ratio for ratio in ratios(of.lstrip("/"), runs) if ratio is not None]
        texts = [f"{1 / ratio if of.startswith('/') else ratio:.2f}" for ratio in found]
        return f"{min(texts, key=float)} to {max(texts, key=float)}"
    section, *rest = of
    key = (section.lstrip("="), *rest)
    figures = [run[key] for run in (runs[-1:] if section.startswith("=") else runs) if key in run]
    texts = [f"{float(f'{figure:.3g}'):,.0f}" for figure in (min(figures), max(figures))]
    return texts[0] if section.startswith("=") else " to ".join(texts)


def check():
    paths = [*sorted((RECORD / "others").glob("*.csv")), RECORD / "results.csv"]
    runs = [read(path) for path in paths]
    claims = [text.format(*(said(of, runs) for of in figures)) for text, *figures in CLAIMS]
    wrong = 0
    for document, texts in ((ROOT / "docs/BENCHMARKS.md", claims), (RECORD / "README.md", table(paths))):
        words = " ".join(document.read_text().split())
        for text in texts:
            if text not in words:
                wrong += 1
                print(f"{document.relative_to(ROOT)} does not say: {text}")
    sys.exit(min(wrong, 1))


def main():
    if sys.argv[1:] == ["--check"]:
        check()
    paths = [Path(name) for name in sys.argv[1:]]
    if not paths:
        sys.exit(__doc__)
    print(*table(paths), sep="\n")


if __name__ == "__main__":
    main()
