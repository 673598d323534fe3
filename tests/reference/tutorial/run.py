#!/usr/bin/env python3
"""Which of the black-box tests hold for the herd as tutorials teach it.

    tests/reference/tutorial/run.py [--target DIR] [--tests DIR] [--old PYTHON] --out FILE.csv

Needs the tests built (`cargo test --no-run`) and what `.ci/run` installs in target/reference. `--old` is the
python of Twisted 12.3.0: tests/reference/twisted/venv.sh DIR --old python2.7 makes it. Tests that fail are
tried once more, so that a busy machine fails nobody. A test that holds without any server, as it is of the
stand-in for Twitter, or of a promise that the language's program is let off, says nothing: its field is empty.
"""

import argparse
import csv
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
FILES = ("clients", "twitter", "survival", "links")


def tests(binary, start, words):
    """Each test's name and whether it held."""
    said = subprocess.run(["timeout", "1800", binary, *words], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, env=dict(os.environ, HERD_SERVER=start)).stdout
    return {name: word == "ok" for name, word in re.findall(r"^test (\S+) .*?(ok|FAILED)$", said, re.M)}


def without_server(binary, start, words):
    """The tests that hold though what is started ends at once."""
    with tempfile.TemporaryDirectory() as folder:
        nobody = Path(folder) / Path(start.split()[-1]).name  # the tests know a program by its name
        nobody.write_text("exit(1)" if nobody.suffix == ".py" else "process.exit(1)")
        said = tests(binary, f"{start.split()[0]} {nobody}", words)
    return {name for name, holds in said.items() if holds}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", type=Path, default=os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--tests", type=Path, help="the folder of the tests' programs, if not TARGET/debug/deps")
    parser.add_argument("--old", help="the python of Twisted 12.3.0")
    parser.add_argument("--threads", default="16", help="tests at a time: most of those that fail wait")
    parser.add_argument("--out", default="tutorial.csv")
    options = parser.parse_args()
    stacks = {"Twisted": f"{options.target / 'reference/twisted/bin/python'} {HERE / 'herd.py'}"}
    if options.old:
        stacks["Twisted 12.3.0"] = f"{Path(options.old).resolve()} {HERE / 'herd.py'}"
    stacks["Node.js"] = f"node {HERE / 'herd.js'}"
    held = {}
    for file in FILES:
        found = options.target.glob(f"debug/deps/{file}-*")
        binary = options.tests / file if options.tests else max(
            (path for path in found if not path.suffix), key=lambda path: path.stat().st_mtime)
        for stack, start in stacks.items():
            words = ["--include-ignored", f"--test-threads={options.threads}"]
            first = tests(binary, start, words)
            failed = [name for name, holds in first.items() if not holds]
            again = tests(binary, start, [*words, "--exact", *failed]) if failed else {}
            for name in first.keys() - without_server(binary, start, words):
                held.setdefault((file, name), {})[stack] = first[name] or again.get(name, False)
            print(f"{stack}/{file}: {sum(first.values())} of {len(first)} at first", flush=True)
            with open(options.out, "w", newline="") as out:
                writer = csv.writer(out, lineterminator="\n")
                writer.writerow(["file", "test", *stacks])
                for (of, name), by in sorted(held.items()):
                    marks = [{True: "holds", False: "fails", None: ""}[by.get(stack)] for stack in stacks]
                    writer.writerow([of, name, *marks])


if __name__ == "__main__":
    sys.exit(main())
