#!/usr/bin/env python3
"""The gate of the plugin ABI: fails when plugins that were built for a recorded version break.

gate.py INCLUDE RECORD...: compares the types of INCLUDE/penstock/plugin.h with each record, by
abidiff. What has joined at the tail of a struct that may grow is cut off before, so that whatever
abidiff still finds is a break.
gate.py --record INCLUDE RECORD: writes one.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

HERE = pathlib.Path(__file__).resolve().parent
# penstock_str, _kv, _owner and _note never grow.
GROWING = {f"penstock_{name}" for name in (
    "error event event_batch message message_batch receipt option value config report host plugin"
).split()}


def describe(include, folder):
    """The types of a header as abidw's XML, in a file of that folder."""
    library, out = folder / "types.so", folder / "types.abi"
    include = pathlib.Path(include).resolve()
    subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-g", "-shared", "-fPIC",
                    f"-I{include}", "types.c", "-o", library], cwd=HERE, check=True)
    subprocess.run(["abidw", "--no-show-locs", "--no-corpus-path", "--no-comp-dir-path",
                    "--no-architecture", "--out-file", out, library], check=True)
    return out


def sizes(tree):
    return {decl.get("name"): int(decl.get("size-in-bits"))
            for decl in tree.iter("class-decl") if decl.get("size-in-bits")}


def cut(current, record):
    """Takes from the growing structs of current what the record's do not reach."""
    tree = ElementTree.parse(current)
    before = sizes(ElementTree.parse(record))
    for decl in tree.iter("class-decl"):
        size = before.get(decl.get("name"))
        if decl.get("name") not in GROWING or size is None or "size-in-bits" not in decl.attrib:
            continue
        for member in decl.findall("data-member"):
            if int(member.get("layout-offset-in-bits")) >= size:
                decl.remove(member)
        decl.set("size-in-bits", str(min(size, int(decl.get("size-in-bits")))))
    out = current.with_suffix(".cut.abi")
    tree.write(out)
    return out


def breaks(include, record):
    """What breaks plugins of the record, as abidiff says it; empty: nothing."""
    with tempfile.TemporaryDirectory() as folder:
        current = describe(include, pathlib.Path(folder))
        found = subprocess.run(["abidiff", "--no-architecture", "--harmless", record,
                                cut(current, record)], capture_output=True, text=True)
    return "" if found.returncode == 0 else found.stdout + found.stderr


def main():
    arguments = sys.argv[1:]
    if not shutil.which("abidw"):
        sys.exit("abidw is missing: ./x setup installs abigail-tools")
    if arguments[:1] == ["--record"]:
        with tempfile.TemporaryDirectory() as folder:
            text = describe(arguments[1], pathlib.Path(folder)).read_text()
        pathlib.Path(arguments[2]).write_text(text)
        return 0
    if len(arguments) < 2:
        sys.exit(__doc__)
    status = 0
    for record in arguments[1:]:
        said = breaks(arguments[0], record)
        if said:
            print(f"{said}\nplugin.h breaks plugins that were built for {record}: undo the change. "
                  "Members join at the tail of a struct, and nothing else changes")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
