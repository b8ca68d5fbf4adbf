#!/usr/bin/env python3
"""Reads a JetStream stream with nothing but the standard library: an independent witness of what
arrived. Follows the stream for some seconds and prints each event, or counts what is in it."""

import argparse
import itertools
import json
import socket
import sys
import time


class Nats:
    """As much of the NATS client protocol as reading a stream takes."""

    def __init__(self, address, timeout):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout)
        self.reader = self.socket.makefile("rb")
        self.reader.readline()  # INFO
        self.send('CONNECT {"verbose":false,"pedantic":false,"headers":true}')

    def send(self, line, payload=None):
        data = line.encode() + b"\r\n"
        if payload is not None:
            data += payload + b"\r\n"
        self.socket.sendall(data)

    def read(self, deadline):
        """The next message as (subject, reply, payload), or None when the deadline has passed."""
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                words = self.reader.readline().decode().split()
            except TimeoutError:
                return None
            if not words:
                raise ConnectionError("the server closed the connection")
            if words[0] == "PING":
                self.send("PONG")
            elif words[0] == "-ERR":
                raise ConnectionError(" ".join(words))
            elif words[0] in ("MSG", "HMSG"):
                headers = int(words[-2]) if words[0] == "HMSG" else 0
                fields = words[1:-2] if words[0] == "HMSG" else words[1:-1]
                payload = self.reader.read(int(words[-1]) + 2)[headers:-2]
                return fields[0], fields[2] if len(fields) > 2 else "", payload
        return None


def consume(nats, stream, deadline):
    """Makes a consumer that pushes the whole stream to us; tries until the stream exists."""
    nats.send("SUB tail.api 1")
    config = {"deliver_subject": "tail.events", "ack_policy": "none", "deliver_policy": "all"}
    request = json.dumps({"stream_name": stream, "config": config}).encode()
    while time.monotonic() < deadline:
        subject = f"$JS.API.CONSUMER.CREATE.{stream}"
        nats.send(f"PUB {subject} tail.api {len(request)}", request)
        answer = nats.read(deadline)
        reply = json.loads(answer[2]) if answer else {}
        if "config" in reply:
            nats.send("SUB tail.events 2")  # the server delivers from here on
            return reply.get("num_pending", 0)
        time.sleep(0.1)
    sys.exit(f"no stream {stream} appeared")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", help="HOST:PORT")
    parser.add_argument("stream")
    parser.add_argument("--follow", type=float, metavar="SECONDS", help="print what arrives")
    args = parser.parse_args()
    deadline = time.monotonic() + (args.follow or 10)
    nats = Nats(args.server, 10)
    waiting = consume(nats, args.stream, deadline)
    if not args.follow:
        read = list(itertools.takewhile(bool, (nats.read(deadline) for _ in range(waiting))))
        print(len(read))
        return 0 if len(read) == waiting else 1
    while message := nats.read(deadline):
        subject, _, payload = message
        print(f"  {subject}  {payload.decode(errors='replace')[:400]}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
