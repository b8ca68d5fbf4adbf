#!/usr/bin/env python3
"""servers.py FILE: what the gateway in the container talks to, and who reads it back.

Runs event servers of the contract, nats-servers and a Kafka broker on loopback until SIGTERM, with
the means of tests/e2e. FILE gets their addresses as shell variables. The container asks by HTTP
GET, answered by 200 and a text, or by 500 and what is wrong:

    /nats/STREAM/COUNT      exactly the events 0 .. COUNT-1 of one event stream are there, once each
    /kafka/TOPIC/COUNT      the same, of a topic
    /gapless/STREAM         each event stream in it is whole from its first event to its last
    /count/STREAM           how many messages it has
    /end/SERVER             ends one of the event servers: backlog, live
    /token/TOKEN            starts the nats-server with a login again, and this is its token now
"""

import http.server
import os
import pathlib
import signal
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from harness.event_server import (  # noqa: E402
    EventServer, assert_consecutive, assert_numbered, numbers_by_stream)
from harness.kafka_bus import KafkaBus  # noqa: E402
from harness.nats_bus import NatsServer  # noqa: E402

TOPIC = "events"


class Servers:
    def __init__(self, directory):
        self.nats = NatsServer(directory)
        self.locked = NatsServer(directory, name="locked")
        self.events = {name: EventServer(directory, name=name) for name in ("backlog", "live")}
        self.kafka = None

    def start(self):
        self.nats.start()
        for name in ("live", "backlog", "crash"):
            self.nats.add_stream(name, [f"{name}.>"])
        self.set_token("first")
        self.locked.add_stream("locked", ["locked.>"])
        for server in self.events.values():
            server.start()
        self.kafka = KafkaBus()
        self.kafka.add_topic(TOPIC)

    def addresses(self):
        return {"NATS": self.nats.url, "NATS_LOCKED": self.locked.url,
                "KAFKA": self.kafka.broker.bootstrap,
                **{f"SERVER_{name.upper()}": s.url for name, s in self.events.items()}}

    def set_token(self, token):
        if self.locked.process:
            self.locked.kill()
        self.locked.more = f'authorization {{ token: "{token}" }}'
        self.locked.connect_options = {"token": token}
        self.locked.start()
        return f"the token is {token}"

    def bus(self, stream):
        return self.locked if stream == "locked" else self.nats

    def whole(self, payloads, count):
        assert_numbered(payloads, int(count))
        return f"{count} events, none missing, none twice"

    def gapless(self, payloads):
        streams = numbers_by_stream(payloads)
        assert streams, "nothing is there"
        for numbers in streams.values():
            assert_consecutive(sorted(numbers), len(numbers), min(numbers))
        return f"{len(payloads)} events of {len(streams)} streams, no gap, none twice"

    def end(self, name):
        self.events[name].kill()
        return f"{name} has ended"

    def answer(self, path):
        """The text of the answer; an exception says what is wrong."""
        match path.strip("/").split("/"):
            case ["nats", stream, count]:
                return self.whole(self.bus(stream).payloads(stream), count)
            case ["kafka", topic, count]:
                return self.whole(self.kafka.values(topic), count)
            case ["gapless", stream]:
                return self.gapless(self.bus(stream).payloads(stream))
            case ["count", stream]:
                return str(self.bus(stream).count(stream))
            case ["end", name]:
                return self.end(name)
            case ["token", token]:
                return self.set_token(token)
            case _:
                raise AssertionError(f"{path} means nothing")

    def close(self):
        for process in (self.nats, self.locked, *self.events.values()):
            process.kill()
        if self.kafka:
            self.kafka.close()


def handler(servers):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            try:
                status, text = 200, servers.answer(self.path)
            except Exception as error:  # whatever it is, the container shall read it
                status, text = 500, f"{type(error).__name__}: {error}"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(f"{text}\n".encode())

        def log_message(self, *_):
            pass
    return Handler


def main():
    target = pathlib.Path(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="penstock-servers-") as directory:
        servers = Servers(pathlib.Path(directory))
        try:
            servers.start()
            server = http.server.HTTPServer(("127.0.0.1", 0), handler(servers))
            lines = {"ASK": server.server_port, **servers.addresses()}
            fresh = target.with_suffix(".new")
            fresh.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
            os.replace(fresh, target)
            server.serve_forever()
        finally:
            servers.close()


main()
