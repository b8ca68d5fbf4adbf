#!/usr/bin/env python3
"""An event server of the generic contract, for tests, written from proto/generic.proto alone.

../README.md describes its flags, lines and payloads. Needs the packages of tests/requirements.txt.
"""

import argparse
import concurrent.futures
import itertools
import pathlib
import secrets
import signal
import sys
import tempfile
import threading
import time
import zlib

import grpc
import grpc_tools.protoc

PROTO = pathlib.Path(__file__).resolve().parents[3] / "proto"


def load_contract():
    """The messages and the service, generated from the contract at start."""
    with tempfile.TemporaryDirectory() as directory:
        arguments = ["protoc", f"-I{PROTO}", f"--python_out={directory}",
                     f"--grpc_python_out={directory}", "generic.proto"]
        if grpc_tools.protoc.main(arguments) != 0:
            raise RuntimeError("protoc failed")
        sys.path.insert(0, directory)
        import generic_pb2
        import generic_pb2_grpc
        sys.path.remove(directory)
    return generic_pb2, generic_pb2_grpc


generic_pb2, generic_pb2_grpc = load_contract()
SAYING = threading.Lock()


def json_payload(number, stream, size):
    if size == 0:
        return b""
    head = f'{{"seq":{number},"stream":"{stream}","crc":"'
    middle = '","pad":"'
    room = max(0, size - len(head) - 8 - len(middle) - 2)
    pad = "".join(chr(ord("a") + (number + i) % 26) for i in range(room))
    crc = zlib.crc32(f"{number}:{stream}:{pad}".encode())
    return f'{head}{crc:08x}{middle}{pad}"}}'.encode()


def binary_payload(number, stream, size):
    if size == 0:
        return b""
    seq = number.to_bytes(8, "big")
    rest = stream.encode() + b"\0"
    rest += bytes((number + i) & 255 for i in range(max(0, size - 12 - len(rest))))
    return seq + zlib.crc32(seq + rest).to_bytes(4, "big") + rest


def add_stream_flags(parser):
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--burst", type=int, default=1)
    parser.add_argument("--close-after", type=int)
    parser.add_argument("--status", default="OK")
    parser.add_argument("--oversize-at", type=int)
    parser.add_argument("--oversize-size", type=int, default=5 * 1024 * 1024)
    parser.add_argument("--json", action="store_true", help="the default")
    parser.add_argument("--binary", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--early-headers", action="store_true")


def with_config(flags, config):
    """Words "key=value" of the config over the flags; other words are left alone."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_stream_flags(parser)
    known = {action.dest.replace("_", "-") for action in parser._actions}
    words = config.decode(errors="replace").replace(",", " ").split()
    given = ["--" + word for word in words if word.split("=")[0] in known - {"help"}]
    return parser.parse_args(given, namespace=argparse.Namespace(**vars(flags)))


def status_code(text):
    by_number = {code.value[0]: code for code in grpc.StatusCode}
    return by_number[int(text)] if text.isdigit() else grpc.StatusCode[text]


class Eventing(generic_pb2_grpc.EventingServicer):
    def __init__(self, flags):
        self.flags = flags
        self.streams = itertools.count(1)
        self.number = flags.first

    def StartEventSource(self, request, context):
        stream = next(self.streams)
        headers = {key: value for key, value in context.invocation_metadata()}
        authorization = headers.get("authorization", "")
        say(f"STREAM {stream} name={request.name.encode().hex()} config={request.config.hex()} "
            f"authorization={authorization.encode().hex()} "
            f"agent={headers.get('user-agent', '').encode().hex()} peer={context.peer()}")
        if self.flags.token and authorization != f"Bearer {self.flags.token}":
            say(f"END {stream} sent=0 bytes=0")
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong or no bearer token")
        try:
            flags = with_config(self.flags, request.config)
        except (argparse.ArgumentError, ValueError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"config: {error}")
        if flags.early_headers:
            context.send_initial_metadata(())
        yield from self.send(stream, flags, request.name, context)
        code = status_code(flags.status)
        if code != grpc.StatusCode.OK and context.is_active():
            context.abort(code, "as --status says")

    def send(self, stream, flags, name, context):
        gone = threading.Event()
        context.add_callback(gone.set)
        number = self.number if flags.resume else flags.first
        payload = binary_payload if flags.binary else json_payload
        sent = total = 0
        start = time.monotonic()
        try:
            while not gone.is_set() and (flags.close_after is None or sent < flags.close_after):
                if flags.count and sent == flags.count:
                    gone.wait()
                    return
                if flags.rate:
                    due = start + sent // flags.burst * flags.burst / flags.rate
                    if gone.wait(max(0, due - time.monotonic())):
                        return
                size = flags.oversize_size if number == flags.oversize_at else flags.size
                body = payload(number, f"{self.flags.id}-{stream}", size)
                sent, number, total = sent + 1, number + 1, total + len(body)
                yield generic_pb2.Event(name=name, payload=body)
        finally:
            self.number = number
            say(f"END {stream} sent={sent} bytes={total}")


def say(line):
    # In one piece: print() writes the line's end apart, and streams have threads of their own.
    with SAYING:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def credentials(flags):
    if not flags.tls_cert:
        return None
    pair = (pathlib.Path(flags.tls_key).read_bytes(), pathlib.Path(flags.tls_cert).read_bytes())
    authority = pathlib.Path(flags.tls_ca).read_bytes() if flags.tls_ca else None
    return grpc.ssl_server_credentials([pair], authority, require_client_auth=bool(authority))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--listen", help="instead of a port: unix:/path")
    parser.add_argument("--id", default=secrets.token_hex(4), help="in the payloads")
    parser.add_argument("--token", help="bearer that a client must show")
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    parser.add_argument("--tls-ca", help="demand a client certificate of this authority")
    add_stream_flags(parser)
    flags = parser.parse_args()

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(64),
                         options=[("grpc.so_reuseport", 0), ("grpc.max_send_message_length", -1)])
    generic_pb2_grpc.add_EventingServicer_to_server(Eventing(flags), server)
    address = flags.listen or f"127.0.0.1:{flags.port}"
    secure = credentials(flags)
    if secure:
        port = server.add_secure_port(address, secure)
    else:
        port = server.add_insecure_port(address)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server.start()
    say(f"PORT {0 if flags.listen else port}")
    stop.wait()
    server.stop(grace=None).wait()


if __name__ == "__main__":
    main()
