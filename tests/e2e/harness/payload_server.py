"""payload_server.py PORT FILE: sends the payloads of FILE (hex, one a line) on every stream, and
keeps the stream open. Written from the contract alone, without generated code."""

import concurrent.futures
import pathlib
import sys
import threading

import grpc


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number, data):
    return bytes([number << 3 | 2]) + varint(len(data)) + data if data else b""


def main():
    port, source = int(sys.argv[1]), pathlib.Path(sys.argv[2])
    events = [field(1, b"scripted") + field(2, bytes.fromhex(line))
              for line in source.read_text().splitlines()]

    def start_event_source(_, context):
        yield from events
        gone = threading.Event()
        context.add_callback(gone.set)
        gone.wait()

    handler = grpc.method_handlers_generic_handler("generic.Eventing", {
        "StartEventSource": grpc.unary_stream_rpc_method_handler(start_event_source)})
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8),
                         options=[("grpc.so_reuseport", 0), ("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    print("PORT", port, flush=True)
    server.wait_for_termination()


main()
