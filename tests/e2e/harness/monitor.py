"""What monitoring sees of a gateway: over TCP, as Prometheus and probes ask."""

import http.client
import re
import time

from prometheus_client.parser import text_string_to_metric_families

LISTEN = 'admin_listen = "127.0.0.1:0"\n'


class Monitor:
    """The TCP address that the log of a running gateway names."""

    def __init__(self, gateway):
        found = gateway.wait_for(r"admin: http://(\S+?):(\d+) serves")
        self.host, self.port = found[1], int(found[2])

    def ask(self, path, method="GET", timeout=20):
        """(status, headers, body, seconds)"""
        begin = time.monotonic()
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read().decode()
        finally:
            connection.close()
        return answer.status, answer.headers, body, time.monotonic() - begin

    def probe(self, path):
        """(status, lines)"""
        status, _, body, _ = self.ask(path)
        return status, body.splitlines()

    def metrics(self):
        status, headers, body, _ = self.ask("/metrics")
        assert status == 200
        assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return Metrics(body)


class Metrics:
    def __init__(self, text):
        self.text = text
        self.families, self.samples = {}, {}
        for family in text_string_to_metric_families(text):
            assert family.name not in self.families, f"{family.name} stands twice"
            assert family.documentation, f"{family.name} has no help"
            self.families[family.name] = family.type
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self.samples, f"{key} stands twice"
                self.samples[key] = sample.value

    def __getitem__(self, key):
        """metrics["name"], or metrics["name", {"label": "value"}]; all labels must be given."""
        name, labels = key if isinstance(key, tuple) else (key, {})
        return self.samples[name, frozenset(labels.items())]

    def counters(self):
        return {key: value for key, value in self.samples.items() if key[0].endswith("_total")}

    def state(self, name, **labels):
        """The one state whose series is 1."""
        there = {dict(with_)["state"]: value for (n, with_), value in self.samples.items()
                 if n == name and labels.items() <= dict(with_).items()}
        present = [state for state, value in there.items() if value == 1]
        assert len(present) == 1 and set(there.values()) <= {0, 1}, there
        return present[0]

    def route(self, source, sink):
        """The numbers of a route by the names of docs/monitoring.md, without prefix and unit."""
        out = {"dropped": {}, "duplicates": {}}
        for (name, with_), value in self.samples.items():
            labels = dict(with_)
            if not name.startswith("penstock_route_"):
                continue
            if (labels["source"], labels["sink"]) != (source, sink):
                continue
            short = re.sub(r"(_events|_total|_seconds)+$", "", name.removeprefix("penstock_route_"))
            if "reason" in labels:
                out["dropped"][labels["reason"]] = value
            elif "attempt" in labels:
                out["duplicates"][labels["attempt"]] = value
            else:
                out[short] = value
        return out

    def balances(self, source, sink):
        route = self.route(source, sink)
        settled = route["delivered"] + route["dead_lettered"] + sum(route["dropped"].values())
        return route["received"] + route["recovered"] == settled + route["pending"]
