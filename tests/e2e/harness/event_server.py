"""Event servers of the generic contract, tests/servers, in four languages."""

import json
import os
import re
import subprocess
import sys
import zlib

from harness.process import BUILD, CACHE, ROOT, Process, free_port

SERVERS = ROOT / "tests" / "servers"
GO_SERVER = BUILD / "tests" / "servers" / "go" / "test_server_go"
JAVA_CLASSES = BUILD / "tests" / "servers" / "java"
LANGUAGES = ["cpp", "go", "java", "python"]
COMMANDS = {
    "cpp": [BUILD / "tests" / "servers" / "cpp" / "test_server_cpp"],
    "go": [GO_SERVER],
    "java": ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx256m",
             "-cp", f"{JAVA_CLASSES}:{CACHE}/java-server/lib/*", "Server"],
    "python": [sys.executable, SERVERS / "python" / "server.py"],
}


def build_go_server():
    done = subprocess.run(["go", "build", "-buildvcs=false", "-o", GO_SERVER, "."],
                          cwd=SERVERS / "go", check=False, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr


def build_java_server():
    done = subprocess.run([SERVERS / "java" / "build", JAVA_CLASSES], check=False,
                          capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PENSTOCK_CACHE": str(CACHE)})
    assert done.returncode == 0, done.stdout + done.stderr


BUILDERS = {"go": build_go_server, "java": build_java_server}


class EventServer(Process):
    def __init__(self, directory, language="cpp", name=None, arguments=(), port=None):
        self.port = port or free_port()
        command = [*COMMANDS[language], "--port", self.port, *arguments]
        super().__init__(name or f"server-{self.port}", command, directory)
        self.streams_log = ""

    def start(self):
        super().start()
        self.wait_for(r"^PORT \d+", timeout=60)
        return self

    @property
    def url(self):
        return f"127.0.0.1:{self.port}"

    def source(self, name, queue="", options="insecure = true", **stream):
        """The source's tables; stream: flags of tests/servers as words of its config."""
        words = " ".join(word if value is True else f"{word.replace('_', '-')}={value}"
                         for word, value in stream.items())
        table = (f'[sources.{name}]\nplugin = "generic"\nurl = "{self.url}"\n'
                 f'{options}\nconfig = "{words}"\n')
        return table + (f"[sources.{name}.queue]\n{queue}\n" if queue else "")

    def streams(self):
        """(number, name, config) of each call so far."""
        return [(int(m[1]), bytes.fromhex(m[2]).decode(), bytes.fromhex(m[3]).decode()) for m in
                re.finditer(r"^STREAM (\d+) name=(\w*) config=(\w*)", self.text(), re.MULTILINE)]

    def authorizations(self):
        """{name: the last authorization header's bytes}."""
        return {bytes.fromhex(m[1]).decode(): bytes.fromhex(m[2]) for m in re.finditer(
            r"^STREAM \d+ name=(\w*) config=\w* authorization=(\w*)", self.text(), re.MULTILINE)}


class PayloadServer(Process):
    """An event server that sends given payloads once, and then nothing more."""

    def __init__(self, directory, payloads, name="payloads"):
        self.port = free_port()
        source = directory / f"{name}.hex"
        source.write_text("".join(payload.hex() + "\n" for payload in payloads))
        program = ROOT / "tests" / "e2e" / "harness" / "payload_server.py"
        super().__init__(name, [sys.executable, program, self.port, source], directory)

    def start(self):
        super().start()
        self.wait_for(r"^PORT \d+", timeout=60)
        return self

    url = EventServer.url
    source = EventServer.source


def parse_payload(payload):
    """(stream, number) of a payload of tests/servers in json form; its checksum must be right."""
    event = json.loads(payload)
    text = f"{event['seq']}:{event['stream']}:{event['pad']}"
    assert event["crc"] == f"{zlib.crc32(text.encode()):08x}", f"damaged: {payload!r}"
    return event["stream"], event["seq"]


def numbers_by_stream(payloads):
    """{stream: its events' numbers in the order of the payloads}."""
    streams = {}
    for payload in payloads:
        stream, number = parse_payload(payload)
        streams.setdefault(stream, []).append(number)
    return streams


def assert_numbered(payloads, count, first=0):
    """Exactly the events first .. first + count - 1 of one stream, in order."""
    streams = numbers_by_stream(payloads)
    assert len(streams) == 1, f"events of {len(streams)} streams: {list(streams)[:5]}"
    assert_consecutive(next(iter(streams.values())), count, first)


def assert_consecutive(numbers, count, first=0):
    expected = range(first, first + count)
    if numbers == list(expected):
        return
    missing = sorted(set(expected) - set(numbers))
    extra = sorted(set(numbers) - set(expected))
    wrong = next((i for i, n in enumerate(numbers) if n != first + i), len(numbers))
    raise AssertionError(
        f"{len(numbers)} events for {count}; missing {len(missing)} {missing[:5]}, invented "
        f"{len(extra)} {extra[:5]}, repeated {len(numbers) - len(set(numbers))}; first wrong at "
        f"{wrong}: {numbers[max(0, wrong - 2):wrong + 4]}")
