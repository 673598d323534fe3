#!/usr/bin/env python3
"""Who finds a fault: the checker, the tests, nobody?

    benches/faults/run.py [--jobs N] [--only LANGUAGE[/ID]]… --out FILE.csv

Each `*.faults` file beside this one lists faults of one language. A fault is a block:

    == ID | kind | what the programmer got wrong
    @ file
    - a line as it is
    + the line with the fault

Lines that begin with a space are context. Each fault is applied to a copy of the sources. The copy is
given to the checker that the project uses (mypy --strict with mypy-zope; tsc --strict --checkJs;
javac -Xlint:all; cargo clippy, which includes rustc), and, if it can be started, to the black-box
tests. A test finds a fault if it fails twice with it and passes without it. Tests that suspects.txt names
for a fault come first, which saves time and changes nothing else.

Needs what `.ci/run` installs in target/reference, and the tests built: `cargo test --no-run`.
"""

import argparse
import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
TESTS = ("clients", "twitter", "survival", "links")
FILE_TIMEOUT = 400  # seconds for one file of tests: a server that hangs makes each test wait
LANGUAGES = {  # its sources, and what of them a fault may name
    "python": "tests/reference/twisted",
    "javascript": "tests/reference/node",
    "java": "tests/reference/java",
    "rust": "src",
}


class Fault:
    def __init__(self, language, header):
        self.language = language
        self.id, self.kind, self.what = (part.strip() for part in header.split("|", 2))
        self.hunks = []  # (file, old, new)


def read_faults(language):
    faults, old, new, path = [], [], [], None

    def close():
        if old or new:
            faults[-1].hunks.append((path, "".join(old), "".join(new)))
        old.clear()
        new.clear()

    for line in (HERE / f"{language}.faults").read_text().splitlines(keepends=True):
        if line.startswith("=="):
            close()
            faults.append(Fault(language, line[2:]))
        elif line.startswith("@"):
            close()
            path = line[1:].strip()
        elif line[:1] in "+- " and line.strip():
            mark, text = line[0], line[2:] if line[1:2] == " " else line[1:]
            if mark in "- ":
                old.append(text)
            if mark in "+ ":
                new.append(text)
    close()
    return faults


def apply(fault, sources):
    for path, old, new in fault.hunks:
        file = sources / path
        text = file.read_text()
        if text.count(old) != 1:
            raise SystemExit(f"{fault.language}/{fault.id}: {path} has {text.count(old)} times:\n{old}")
        file.write_text(text.replace(old, new))


def apply_each(faults):
    """Sees whether each can be applied, to a copy of its own."""
    for fault in faults:
        with tempfile.TemporaryDirectory() as copy:
            shutil.copytree(ROOT / LANGUAGES[fault.language], copy, dirs_exist_ok=True)
            apply(fault, Path(copy))
    print(f"{len(faults)} faults can be applied", flush=True)


def run(words, **options):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, **options)


class Bench:
    """The tools, and where the copies are."""

    def __init__(self, options):
        self.target = Path(options.target)
        self.reference = self.target / "reference"
        self.scratch = Path(tempfile.mkdtemp(prefix="faults."))
        self.threads = options.threads
        self.binaries = {test: self._binary(options.tests, test) for test in TESTS}
        self.suspects_only = options.suspects_only
        self.no_tests = options.no_tests
        self.suspects = {}
        for line in (HERE / "suspects.txt").read_text().splitlines():
            faults, _, tests = line.partition(":")
            self.suspects |= {fault: tests.split() for fault in faults.split()}
        self.sounds, self.making_sound = {}, threading.Lock()
        self.rust = threading.Lock()  # one build at a time, in one folder
        self.rust_copy = Path(options.rust_copy) if options.rust_copy else self.scratch / "rust"

    def _binary(self, folder, test):
        if folder:
            return Path(folder) / test
        found = [path for path in (self.target / "debug/deps").glob(f"{test}-*") if not path.suffix]
        return max(found, key=lambda path: path.stat().st_mtime)

    # What the checker says (or ""), and the command that starts the server (or None).

    def check_python(self, copy):
        venv = self.reference / "twisted/bin"
        if (self.reference / "mypy").exists():  # what mypy knows of the libraries
            shutil.copytree(self.reference / "mypy", copy / ".mypy")
        said = run([venv / "mypy", "--config-file", "mypy.ini", "--cache-dir", copy / ".mypy", "herd.py"], cwd=copy)
        complaints = [line for line in said.stdout.splitlines() if ": error:" in line]
        return first(complaints), f"{venv / 'python'} {copy / 'herd.py'}"

    def check_javascript(self, copy):
        modules = self.reference / "node/node_modules"
        said = run([modules / ".bin/tsc", "--noEmit", "--allowJs", "--checkJs", "--strict", "--target", "es2022",
                    "--module", "commonjs", "--typeRoots", modules / "@types", "--types", "node", copy / "herd.js"])
        complaints = [line for line in said.stdout.splitlines() if "error TS" in line]
        start = "node --max-semi-space-size=1 --optimize-for-size --no-opt"
        return first(complaints), f"{start} {copy / 'herd.js'}"

    def check_java(self, copy):
        said = run(["javac", "-Xlint:all", "-d", copy / "classes", copy / "Herd.java"])
        lines = [line for line in said.stderr.splitlines() if re.search(r"\.java:\d+: ", line)]
        lines = [line for line in lines if "sun.misc" not in line and "Signal" not in line]
        start = "java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xms256m -Xmx256m -XX:+AlwaysPreTouch -cp"
        return first(lines), None if said.returncode else f"{start} {copy / 'classes'} Herd"

    def check_rust(self, fault, copy):
        with self.rust:
            tree, source = self.rust_copy, ROOT / "src"
            if not (tree / "Cargo.toml").exists():
                tree.mkdir(parents=True, exist_ok=True)
                for name in ("Cargo.toml", "Cargo.lock", "benches", "tests", "README.md"):
                    if (ROOT / name).is_dir():
                        shutil.copytree(ROOT / name, tree / name)
                    elif (ROOT / name).exists():
                        shutil.copy(ROOT / name, tree / name)
            for file in source.rglob("*"):  # only what differs, so that cargo sees nothing else
                twin = tree / "src" / file.relative_to(source)
                if file.is_file() and (not twin.exists() or twin.read_bytes() != file.read_bytes()):
                    twin.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, twin)
            apply(fault, tree / "src")
            env = dict(os.environ, CARGO_TARGET_DIR=str(tree / "target"), CARGO_INCREMENTAL="1")
            said = run(["cargo", "clippy", "--offline", "--quiet", "--lib", "--bins", "--message-format=short", "--",
                        "-D", "warnings"], cwd=tree, env=env)
            lines = [line for line in said.stderr.splitlines() if re.search(r": (error|warning)", line)]
            if self.no_tests:
                return first(lines), "not built"
            built = run(["cargo", "build", "--offline", "--quiet", "--bin", "herd"], cwd=tree, env=env)
            if built.returncode:
                return first(lines) or first(built.stderr.splitlines()), None
            program = copy / "herd"
            shutil.copyfile(tree / "target/debug/herd", program)
            program.chmod(0o755)
            return first(lines), str(program)

    def prepare(self, fault):
        """Makes the copy; gives it, what the checker says, and the command that starts the server."""
        copy = Path(tempfile.mkdtemp(dir=self.scratch, prefix=f"{fault.language}-{fault.id}."))
        if fault.language == "rust":
            return copy, *self.check_rust(fault, copy)
        shutil.copytree(ROOT / LANGUAGES[fault.language], copy, dirs_exist_ok=True)
        apply(fault, copy)
        return copy, *getattr(self, f"check_{fault.language}")(copy)

    def sound(self, language):
        """The command that starts the server without any fault, and where it is."""
        with self.making_sound:
            if language not in self.sounds:
                none = Fault(language, "sound | - | -")
                copy, _, start = self.prepare(none)
                self.sounds[language] = (start, copy)
            return self.sounds[language]

    def test(self, fault, start, copy):
        """The first test that finds it, or "". None if the machine is too busy to tell."""
        for suspect in self.suspects.get(fault.id, []):
            file, _, name = suspect.partition("::")
            if self._finds(fault, start, copy, file, name):
                return suspect
        for file in TESTS if not self.suspects_only else ():
            skipped = []
            while failed := self._first_failure(start, copy, file, skipped):
                if failed == "it does not end":
                    return f"{file}: {failed}"
                if self._finds(fault, start, copy, file, failed):
                    return f"{file}::{failed}"
                skipped.append(failed)
                if len(skipped) > 6:
                    return None
        return None if self.suspects_only else ""

    def _finds(self, fault, start, copy, file, name):
        """Whether a test fails with the fault, again with it, and not without it."""
        fails = all(self._first_failure(start, copy, file, [], name) for _ in range(2))
        return fails and not self._first_failure(*self.sound(fault.language), file, [], name)

    def _first_failure(self, start, copy, file, skipped, only=None):
        """The first test of a file that fails, or what there is to say of a file that does not end."""
        words = ["timeout", "--kill-after=5", str(FILE_TIMEOUT), str(self.binaries[file])]
        words += ["--include-ignored", f"--test-threads={self.threads}"]
        words += ["--exact", only] if only else [word for name in skipped for word in ("--skip", name)]
        process = subprocess.Popen(words, cwd=ROOT, env=dict(os.environ, HERD_SERVER=start), text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            for line in process.stdout:
                found = re.match(r"test (\S+) .*FAILED$", line)
                if found:
                    return found.group(1)
                if line.startswith("test result: ok. 0 passed"):
                    raise SystemExit(f"there is no test {file}::{only}")
                if line.startswith("test result: ok"):
                    return None
            return only or "it does not end"
        finally:
            end(process)
            end_servers(copy)


def end(process):
    """Ends the tests."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def end_servers(copy):
    """Ends what tests that were cut off have left: whatever runs from this copy."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(copy).encode() in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            pass  # it has ended by itself


def first(lines):
    return lines[0].strip() if lines else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=12, help="tests at a time")
    parser.add_argument("--only", action="append", default=[], help="LANGUAGE or LANGUAGE/ID")
    parser.add_argument("--target", default=os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--tests", help="the folder of the tests' programs, if not TARGET/debug/deps")
    parser.add_argument("--rust-copy", help="where Rust is built; keep it, and its target, for the next run")
    parser.add_argument("--no-tests", action="store_true", help="only the checkers; the tests in a later run")
    parser.add_argument("--suspects-only", action="store_true", help="only the suspects; the rest in a later run")
    parser.add_argument("--apply-only", action="store_true", help="only see whether each fault can be applied")
    parser.add_argument("--out", default="faults.csv")
    options = parser.parse_args()
    faults = [fault for language in LANGUAGES if (HERE / f"{language}.faults").exists()
              for fault in read_faults(language)]
    wanted = options.only
    faults = [fault for fault in faults
              if not wanted or fault.language in wanted or f"{fault.language}/{fault.id}" in wanted]
    apply_each(faults)
    if options.apply_only:
        return
    bench = Bench(options)
    rows, lock = {}, threading.Lock()
    out = Path(options.out)
    if out.exists():  # go on where an earlier run was stopped
        with out.open() as file:
            rows = {(row["language"], row["id"]): row for row in csv.DictReader(file)}

    def one(fault):
        known = rows.get((fault.language, fault.id))
        if known and (options.no_tests or known["found_by"]):
            return
        copy, checker, start = bench.prepare(fault)
        test = None if options.no_tests and start else bench.test(fault, start, copy) if start else "cannot be built"
        shutil.rmtree(copy, ignore_errors=True)
        checker = checker.replace(f"{copy}/", "")
        found = "checker" if checker else "" if test is None else "tests" if test else "nobody"
        row = {"language": fault.language, "id": fault.id, "kind": fault.kind, "fault": fault.what,
               "found_by": found if test is not None else "", "checker": checker, "test": test or ""}
        with lock:
            rows[fault.language, fault.id] = row
            print(f"{fault.language}/{fault.id}: {found or '?'} {checker or test}", flush=True)
            with out.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                writer.writeheader()
                order = {(fault.language, fault.id): at for at, fault in enumerate(faults)}
                writer.writerows(rows[key] for key in sorted(rows, key=lambda key: order.get(key, 999)))

    with ThreadPoolExecutor(options.jobs) as pool:
        for result in [pool.submit(one, fault) for fault in faults]:
            result.result()
    shutil.rmtree(bench.scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
