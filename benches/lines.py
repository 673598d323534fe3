#!/usr/bin/env python3
"""How many lines each implementation takes for the same features, as cloc counts them.

    benches/lines.py --out FILE.csv        needs cloc (Debian's package)

The features: what tests/reference/README.md says that all four promise: clients' lines with exact times,
order, half-close and long lines; links with flood, marks, resumption, silence and crossing dials; bounded
memory; the log; the drain; one Twitter answer over HTTP. Of the program in Rust only the rooms that these
need are counted (below), without the tests in the files; whatever else they do is counted too, so it is an
upper bound. Java and Node.js have their parts in one file; nothing of it is left out.
"""

import argparse
import csv
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUST_ROOMS = [  # for the features above; not for the journal, HTTP in the server, TLS, devices, the stand-in
    "connection_id.rs", "input.rs", "lib.rs", "lines.rs", "main.rs", "random.rs", "time.rs", "topology",
    "log", "net", "node", "server", "twitter",
]
RUST_REACTOR = ["net", "input.rs", "lines.rs"]  # what elsewhere the framework or the library brings
STACKS = {
    "Twisted": ["tests/reference/twisted"],
    "Node.js": ["tests/reference/node"],
    "Java": ["tests/reference/java"],
    "Twisted, as tutorials teach it": ["tests/reference/tutorial/herd.py"],
    "Node.js, as tutorials teach it": ["tests/reference/tutorial/herd.js"],
    "herd, these rooms": [f"src/{room}" for room in RUST_ROOMS],
    "herd, of them the reactor and lines": [f"src/{room}" for room in RUST_REACTOR],
    "herd, all of src": ["src"],
}
LANGUAGES = {"Python", "JavaScript", "Java", "Rust"}


def without_tests(text):
    """Tests stand last in a file of Rust."""
    return re.split(r"^#\[cfg\(test\)\]\nmod \w+ \{", text, maxsplit=1, flags=re.M)[0]


def count(paths):
    with tempfile.TemporaryDirectory() as copy:
        for at, path in enumerate(paths):
            source, target = ROOT / path, Path(copy, f"{at}-{Path(path).name}")
            if source.is_dir():
                shutil.copytree(source, target)
            elif source.exists():
                shutil.copy(source, target)
        for file in Path(copy).rglob("*.rs"):
            is_test = file.name == "tests.rs" or file.stem.endswith("_tests")
            file.write_text("" if is_test else without_tests(file.read_text()))
        said = subprocess.run(["cloc", "--json", "--quiet", "--skip-uniqueness", copy], capture_output=True,
                              text=True, check=True).stdout
    found = [numbers for language, numbers in json.loads(said).items() if language in LANGUAGES]
    return [sum(one[what] for one in found) for what in ("nFiles", "code", "comment", "blank")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="lines.csv")
    options = parser.parse_args()
    with open(options.out, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["implementation", "files", "code", "comments", "blank"])
        for stack, paths in STACKS.items():
            row = [stack, *count(paths)]
            writer.writerow(row)
            print(*row, sep="\t")


if __name__ == "__main__":
    main()
