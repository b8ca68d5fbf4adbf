"""A subscriber by hand, which notes when what came and does nothing else in the meantime."""

import bisect
import re
import socket
import threading
import time

# HMSG SUBJECT SID [REPLY] SIZE_OF_HEADERS SIZE, or MSG SUBJECT SID [REPLY] SIZE
MESSAGE = re.compile(rb"(?:HMSG (?:\S+ ){2,3}(\d+)|MSG \S+ \S+(?: \S+)?) (\d+)\r\n")
CONNECT = b'CONNECT {"verbose":false,"headers":true,"lang":"bench","version":"0","protocol":1}\r\n'


def body_of(text, found):
    return text[found.end() + int(found[1] or 0):found.end() + int(found[2])]


class NatsWire:
    """One connection to a NATS server with TLS."""

    def __init__(self, port, tls):
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        while plain.recv(1) != b"\n":  # of the line INFO, in the clear
            pass
        self.socket = tls.wrap_socket(plain, server_hostname="127.0.0.1")
        self.socket.sendall(CONNECT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def request(self, subject, body=b""):
        """What the answer says."""
        self.socket.sendall(b"SUB _B 1\r\n" +
                            f"PUB {subject} _B {len(body)}\r\n".encode() + body + b"\r\n")
        text = b""
        while True:
            part = self.socket.recv(65536)
            assert part, f"the NATS server hung up: {text[:300]}"
            text += part
            found = MESSAGE.search(text)
            if found and len(text) >= found.end() + int(found[2]):
                return body_of(text, found)


class Tap:
    """Subscribes to a subject from now on; each message has the time.time_ns() at which its last
    byte was there. Parses afterwards, so that the reader costs little while it measures."""

    def __init__(self, port, tls, subject):
        self.wire = NatsWire(port, tls)
        self.wire.socket.sendall(f"SUB {subject} 1\r\nPING\r\n".encode())
        self.text = bytearray()
        while b"PONG\r\n" not in self.text:
            self.text += self.wire.socket.recv(65536)
        self.text.clear()
        self.wire.socket.settimeout(None)
        self.ends, self.times = [], []  # of what one recv gave
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self):
        while True:
            try:
                part = self.wire.socket.recv(1 << 18)
            except OSError:
                return
            now = time.time_ns()
            if not part:
                return
            if b"PING\r\n" in part:
                self.wire.socket.sendall(b"PONG\r\n")
            with self.lock:
                self.text += part
                self.ends.append(len(self.text))
                self.times.append(now)

    def messages(self):
        """[(ns, data)] until now."""
        with self.lock:
            text, ends, times = bytes(self.text), list(self.ends), list(self.times)
        out, at = [], 0
        while found := MESSAGE.search(text, at):
            at = found.end() + int(found[2])
            if at > len(text):
                break
            out.append((times[bisect.bisect_left(ends, at)], body_of(text, found)))
        return out

    def close(self):
        self.wire.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(10)
        self.wire.socket.close()
