"""Hosts of their own on one machine: a gateway and a server with a router between them, which can
cut the link, or lose packets so that neither side is told. Needs root; nothing outlives the test.

    gateway 198.18.1.2 --- 198.18.1.1 router 198.18.2.1 --- 198.18.2.2 server
"""

import contextlib
import ctypes
import os
import pathlib
import subprocess
import threading

from harness.event_server import EventServer
from harness.kafka_bus import Broker, KafkaBus
from harness.nats_bus import NatsServer

GATEWAY, SERVER = "198.18.1.2", "198.18.2.2"
NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
MY_NETWORK = "/proc/thread-self/ns/net"


def call(function, *arguments):
    if function(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


class Host:
    """A network namespace without a name: it ends with the last process in it and with close()."""

    def __init__(self):
        made = {}

        def make():
            try:
                call(LIBC.unshare, NEWNET)
                made["fd"] = os.open(MY_NETWORK, os.O_RDONLY)
            except OSError as error:
                made["error"] = error
        thread = threading.Thread(target=make)  # which is left in it, and ends
        thread.start()
        thread.join()
        if "error" in made:
            raise made["error"]
        self.fd = made["fd"]
        self.ip("link", "set", "lo", "up")

    @contextlib.contextmanager
    def inside(self):
        """This thread, and whatever it starts, is on this host."""
        back = os.open(MY_NETWORK, os.O_RDONLY)
        try:
            call(LIBC.setns, self.fd, NEWNET)
            try:
                yield self
            finally:
                call(LIBC.setns, back, NEWNET)
        finally:
            os.close(back)

    def starter(self, start):
        """The fixture `start` for programs on this host."""
        def start_here(process):
            with self.inside():
                return start(process)
        return start_here

    def ip(self, *words):
        with self.inside():
            done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True,
                                  timeout=30)
        assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"

    def write(self, setting, value):
        with self.inside():
            pathlib.Path("/proc/sys/net", setting).write_text(value)

    def connect(self, interface, address, router, far, far_address):
        """A link to the router, whose end of it is called far."""
        place = f"/proc/{os.getpid()}/fd/{router.fd}"
        self.ip("link", "add", interface, "type", "veth", "peer", "name", far, "netns", place)
        self.ip("address", "add", f"{address}/24", "dev", interface)
        router.ip("address", "add", f"{far_address}/24", "dev", far)
        router.ip("link", "set", far, "up")
        self.bring_up(interface, far_address)

    def bring_up(self, interface, router_address):
        self.ip("link", "set", interface, "up")
        self.ip("route", "add", "default", "via", router_address)

    def close(self):
        os.close(self.fd)


class Network:
    """Its cuts go by name: cut(how) and mend(how)."""

    CUTS = ("carrier", "own link", "silence", "no answers")

    def __init__(self):
        self.router, self.gateway = Host(), Host()
        self.router.write("ipv4/ip_forward", "1")
        self.gateway.connect("net0", GATEWAY, self.router, "to-gateway", "198.18.1.1")
        self._connect_server()

    def _connect_server(self):
        self.server = Host()
        self.server.connect("net0", SERVER, self.router, "to-server", "198.18.2.1")

    def replace_server(self):
        """The server's host is another one at the same address: it knows of no connection."""
        self.router.ip("link", "delete", "to-server")
        self.server.close()
        self._connect_server()

    def cut(self, how):
        self._switch(how, mend=False)

    def mend(self, how):
        self._switch(how, mend=True)

    def _switch(self, how, mend):
        if how == "carrier":  # the cable of the gateway's host
            self.router.ip("link", "set", "to-gateway", "up" if mend else "down")
        elif how == "own link":  # it has no route left
            if mend:
                self.gateway.bring_up("net0", "198.18.1.1")
            else:
                self.gateway.ip("link", "set", "net0", "down")
        else:  # packets vanish on the way: a half-open peer
            lost = {"silence": (GATEWAY, SERVER), "no answers": (GATEWAY,)}[how]
            for address in lost:
                self.router.ip("route", "del" if mend else "add", "blackhole", f"{address}/32")

    def close(self):
        for host in (self.gateway, self.server, self.router):
            host.close()


class FarNats(NatsServer):
    """A nats-server on the server's host; it is read from there, whatever the router does.
    near: it is on the gateway's."""

    def __init__(self, network, *arguments, near=False, **options):
        self.network, self.near = network, near
        super().__init__(*arguments, **options)

    @property
    def host(self):
        return self.network.gateway if self.near else self.network.server

    @property
    def url(self):
        return f"nats://{GATEWAY if self.near else SERVER}:{self.port}"

    def write_config(self):
        super().write_config()
        text = self.config.read_text().replace("127.0.0.1", "0.0.0.0")
        self.config.write_text(text)

    def start(self):
        with self.host.inside():
            return super().start()

    def _run(self, work):
        with self.host.inside():
            return super()._run(work)


class FarBroker(Broker):
    def __init__(self, network):
        self.network = network
        super().__init__()

    def address(self, listener):
        return f"{SERVER}:{self.ports[listener]}"

    def _write_properties(self):
        port, controller = self.ports["PLAINTEXT"], self.ports["CONTROLLER"]
        self.extra = {
            "listeners": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{SERVER}:{port}"}
        super()._write_properties()

    def start(self, timeout=60):
        with self.network.server.inside():
            super().start(timeout)


class FarKafka(KafkaBus):
    """A broker on the server's host; read from there as well."""

    def __init__(self, network):
        self.network = network
        self.broker = FarBroker(network)
        self.broker.start()

    def admin(self):
        with self.network.server.inside():
            return super().admin()

    def reader(self):
        with self.network.server.inside():
            return super().reader()


class FarEventServer(EventServer):
    def __init__(self, network, directory, **options):
        self.network = network
        super().__init__(directory, **options)
        at = self.command.index("--port")
        self.command[at:at + 2] = ["--listen", f"{SERVER}:{self.port}"]

    @property
    def url(self):
        return f"{SERVER}:{self.port}"

    def start(self):
        with self.network.server.inside():
            return super().start()
