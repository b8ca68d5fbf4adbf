#!/usr/bin/env python3
"""Adds up the suites of ./x test: what failed, what was skipped and why, and the closing line.

A suite is a line of suites.tsv: name, exit status, report (JUnit XML), seconds. A suite that left
no report, or that failed without naming a failed test, counts as one failure.
"""

import argparse
import fnmatch
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree


def skip_reason(case, skipped):
    """ctest only says that a test was skipped; the reason is in what GoogleTest printed."""
    reason = skipped.get("message") or ""
    if not reason or "SKIP_" in reason:
        output = case.findtext("system-out") or ""
        told = re.search(r": Skipped\n(.+)", output)
        reason = told.group(1) if told else reason or "no reason given"
    return " ".join(reason.split())


def read_cases(report):
    """Yields (test, "passed" | "failed" | "skipped", reason) of one JUnit file."""
    for case in ElementTree.parse(report).iter("testcase"):
        name = ".".join(filter(None, [case.get("classname"), case.get("name")]))
        if case.get("classname") == case.get("name"):
            name = case.get("name")
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            yield name, "failed", ""
        elif skipped is not None:
            yield name, "skipped", skip_reason(case, skipped)
        else:
            yield name, "passed", ""


def read_suite(report, status):
    try:
        cases = list(read_cases(report))
    except (OSError, ElementTree.ParseError) as error:
        return [("(the whole suite)", "failed", f"no readable report: {error}")]
    if not cases:
        return [("(the whole suite)", "failed", "it ran no test")]
    if status != 0 and not any(outcome == "failed" for _, outcome, _ in cases):
        cases.append(("(the whole suite)", "failed", f"it ended with status {status}"))
    return cases


def read_allowed(path):
    rules = []
    for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            rule = [field.strip() for field in line.split("|")]
            if len(rule) != 3:
                sys.exit(f"{path}:{number}: expected SUITE | TEST | REASON")
            rules.append(rule)
    return rules


def allowed(rules, suite, test, reason):
    return any(
        fnmatch.fnmatchcase(suite, rule[0])
        and fnmatch.fnmatchcase(test, rule[1])
        and fnmatch.fnmatchcase(reason, rule[2])
        for rule in rules
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suites", required=True)
    parser.add_argument("--allowed", required=True)
    args = parser.parse_args()
    rules = read_allowed(args.allowed)
    passed, failures, skips = 0, [], []
    for line in pathlib.Path(args.suites).read_text().splitlines():
        suite, status, report, seconds = line.split("\t")
        cases = read_suite(report, int(status))
        count = {"passed": 0, "failed": 0, "skipped": 0}
        for test, outcome, reason in cases:
            count[outcome] += 1
            if outcome == "failed":
                failures.append((suite, test, reason))
            elif outcome == "skipped":
                skips.append((suite, test, reason))
        passed += count["passed"]
        print(f"{suite:10} {count['passed']:5} passed {count['failed']:4} failed "
              f"{count['skipped']:4} skipped {seconds:>6} s")
    for suite, test, reason in skips:
        listed = allowed(rules, suite, test, reason)
        print(f"skipped: {suite}: {test}: {reason}{'' if listed else ' (NOT LISTED)'}")
        if not listed:
            failures.append((suite, test, f"skip not listed in {args.allowed}: {reason}"))
    if not skips:
        print("skipped: nothing")
    for suite, test, reason in failures:
        print(f"FAILED: {suite}: {test}{': ' + reason if reason else ''}")
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
