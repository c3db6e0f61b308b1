# SPDX-License-Identifier: Apache-2.0
"""Runs suites of tests, each with the Python it is for, and closes with one line of counts: run.py SUITE=PYTHON...

Files of the add-on's suite get a process each, for a Blender keeps what one test did to it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
REQUIRED = os.environ.get("BLENDSET_REQUIRE_BLENDERS") == "1"
"""Set where every Blender must be there (.ci/run does): a missing one is then a failure."""


def targets(suite: str) -> list[str]:
    """What one pytest process each runs."""
    files = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests" / suite).glob("test_*.py"))
    return files if suite == "addon" else [f"tests/{suite}"] * bool(files)


def run(python: str, target: str, faults: list[str]) -> Counter[str]:
    """Runs pytest on one target and counts outcomes; a process that dies counts as a failure. A line for each failure
    is appended to `faults`.
    """
    core = {"PYTHONPATH": str(ROOT / "shared")} if target == "tests/core" else {}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [python, "-m", "pytest", target, "--quiet", "-p", "no:cacheprovider", f"--junit-xml={report}"]
        code = subprocess.run(command, cwd=ROOT, env=os.environ | core).returncode
        counts = outcomes(report) if report.exists() else Counter()
        faults += [f"{target} in {python}: {line}" for line in describe_faults(report)] if report.exists() else []
    if code not in (0, 1) and not (code == 5 and counts["skipped"]):
        faults.append(f"{target} in {python}: pytest ended with {code}")
        counts["failed"] += 1
    return counts


def outcomes(report: Path) -> Counter[str]:
    """The counts of a JUnit report."""
    counts: Counter[str] = Counter()
    for suite in ElementTree.parse(report).iter("testsuite"):
        tests, failures, errors, skipped = (
            int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")
        )
        counts.update(passed=tests - failures - errors - skipped, failed=failures + errors, skipped=skipped)
    return counts


def describe_faults(report: Path) -> list[str]:
    """A line for each test of a JUnit report that failed: its name and the beginning of the reason."""
    cases = [(case, fault) for case in ElementTree.parse(report).iter("testcase")
             for kind in ("failure", "error") for fault in case.iter(kind)]  # fmt: skip
    return [f"{case.get('name')}: {' '.join((fault.get('message') or '').split())[:300]}" for case, fault in cases]


def run_suite(suite: str, python: str, faults: list[str]) -> Counter[str]:
    """Runs one suite; one whose Python is not here is skipped, or failed where it is required."""
    if not (ROOT / python).exists():
        print(f"{suite}: skipped, for there is no {python}", flush=True)
        return Counter({"failed" if REQUIRED else "skipped": 1})
    started = time.monotonic()
    counts: Counter[str] = Counter()
    for target in targets(suite):
        print(f"\n{target} in {python}", flush=True)
        counts += run(python, target, faults)
    print(f"{suite} in {python}: {time.monotonic() - started:.0f} s", flush=True)
    return counts


def main() -> int:
    """Runs all suites of the command line, whatever fails, and returns the exit code."""
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for argument in sys.argv[1:]:
        suite, python = argument.split("=", 1)
        counts += run_suite(suite, python, faults)
    for fault in faults:  # last, where a log that was cut short still shows them
        print(f"\nFAILED {fault}")
    print(f"\n{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
