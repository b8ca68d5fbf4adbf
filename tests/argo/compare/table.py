"""The table of docs/argo.md, and the file with all figures."""

import dataclasses
import json
import re

import broker
import report
from harness.nats_bus import CURRENT
from paths import ROOT

BEGIN, END = "<!-- bench-argo: begin -->", "<!-- bench-argo: end -->"


def argo_version():
    text = (ROOT / "tests" / "argo" / "go.mod").read_text()
    return re.search(r"argoproj/argo-events (v\S+)", text)[1]


def verdict(row):
    return "" if row.met is None else f"{row.goal}: " + ("met" if row.met else "**missed**")


def markdown(rows, seed):
    head = ["what was done", "Argo Events", "Penstock", "Penstock's goal", "rounds"]
    body = [head, ["---"] * 4 + ["--:"]]
    body += [[row.what, row.argo, row.penstock, verdict(row), str(row.rounds)] for row in rows]
    title = (f"Argo Events {argo_version()}, nats-server {CURRENT}, Apache Kafka "
             f"{broker.DEFAULT_VERSION}, all on one machine; `--seed {seed}`. Lost: the server had "
             "handed it to gRPC, and it is not on the bus. Medians of the rounds, in brackets from "
             "the least to the most.")
    return "\n".join([title, "", *("| " + " | ".join(line) + " |" for line in body)]) + "\n"


def save(path, seed, results, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"seed": seed, "results": results,
                                "rows": [dataclasses.asdict(row) for row in rows]}, indent=1))


def put_into(document, text):
    report.put_between_markers(document, text, BEGIN, END)
