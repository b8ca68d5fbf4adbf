"""The service manager as a program that it started sees it: a socket to talk to."""

import os
import re
import secrets
import socket
import threading
import time


class ServiceManager:
    """Collects what is sent to $NOTIFY_SOCKET, each with the moment when it came."""

    def __init__(self, watchdog=None):
        name = f"penstock-test-{os.getpid()}-{secrets.token_hex(8)}"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name)
        self.env = {"NOTIFY_SOCKET": "@" + name}
        if watchdog:
            self.env["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
        self.messages = []  # (time.monotonic(), text)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while True:
            text = self.socket.recv(65536).decode()
            if not text:
                return
            self.messages.append((time.monotonic(), text))

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(b"", self.socket.getsockname())
        self.reader.join()
        self.socket.close()

    def times(self, line, since=0.0):
        """When messages with this line came."""
        return [at for at, text in list(self.messages)
                if at >= since and line in text.splitlines()]

    def all_of(self, pattern):
        """Every line that matches, with its moment."""
        return [(at, found) for at, text in list(self.messages)
                for found in [re.search(pattern, text, re.MULTILINE)] if found]

    def status(self):
        """The last status line."""
        found = self.all_of(r"^STATUS=(.*)$")
        return found[-1][1][1] if found else ""
