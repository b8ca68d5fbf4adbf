#!/usr/bin/env python3
"""A real Apache Kafka broker on loopback, one node in KRaft mode, for tests, demo and bench.

As a module:

    with Broker() as broker:
        client = Producer({"bootstrap.servers": broker.bootstrap})
        broker.kill()      # kill -9
        broker.start()     # the same ports, the same data

As a program, for tests in other languages (stdin takes commands, its end stops everything):

    broker.py run [--version V] [--sasl] [--tls] [--acl] [--set KEY=VALUE]...
"""

import argparse
import contextlib
import ctypes
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
DEFAULT_VERSION = "4.4.0"
EXIT_NO_JARS = 77
USER, PASSWORD = "alice", "alice-secret"
SCRAM_USER, SCRAM_PASSWORD = "bob", "bob-secret"
KEY_PASSWORD = "key-secret"  # of client-encrypted.key

# Quick to start and small; "bench" keeps the optimising compiler.
JVM = ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-Djava.awt.headless=true"]
JVM_QUICK = ["-XX:TieredStopAtLevel=1"]

PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 1,
    "group.initial.rebalance.delay.ms": 0,
    "num.network.threads": 2,
    "num.io.threads": 2,
    "num.partitions": 1,
    "log.cleaner.dedupe.buffer.size": 2097152,
    "log.segment.bytes": 67108864,
    # A broker that was killed is let in again at once.
    "broker.session.timeout.ms": 2000,
    "broker.heartbeat.interval.ms": 200,
    "controller.quorum.election.timeout.ms": 200,
    "controller.quorum.fetch.timeout.ms": 500,
    "unclean.leader.election.enable": "false",
}


class BrokerError(Exception):
    """The broker cannot run; the text says why and what to do."""


class NoJars(BrokerError):
    """Apache Kafka is not in the cache."""


def cache_dir():
    return pathlib.Path(os.environ.get("PENSTOCK_CACHE") or HERE.parent.parent / "build" / "cache")


def kafka_home(version=DEFAULT_VERSION):
    home = cache_dir() / f"kafka-{version}"
    if not (home / "lib").is_dir():
        raise NoJars(f"Apache Kafka {version} is not in {home}; run ./x setup")
    if shutil.which("java") is None:
        raise NoJars("there is no java; run ./x setup")
    return home


def available(version=DEFAULT_VERSION):
    try:
        kafka_home(version)
    except NoJars:
        return False
    return True


def free_ports(count):
    """Ports outside the range from which the kernel serves clients, so that none of these takes the
    port of a broker that is down for a moment (a client may even connect to itself there)."""
    low = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    choose, ports = random.SystemRandom(), []
    while len(ports) < count:
        port = choose.randrange(10000, low if low > 12000 else 60000)
        with socket.socket() as probe:
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                if port not in ports:
                    ports.append(port)
    return ports


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def make_certificates(directory):
    """A CA, a server certificate for 127.0.0.1 and localhost, a client certificate; all PEM."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    openssl("req", "-x509", *curve, "-nodes", "-days", "30", "-subj", "/CN=test CA",
            "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", "ca.key", "-out", "ca.pem")
    for name, extension in (("server", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
                            ("client", "extendedKeyUsage=clientAuth")):
        (directory / f"{name}.ext").write_text(extension + "\n")
        openssl("req", *curve, "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", "30", "-extfile", f"{name}.ext",
                "-out", f"{name}.pem")
    openssl("pkcs8", "-topk8", "-in", "client.key", "-out", "client-encrypted.key",
            "-passout", f"pass:{KEY_PASSWORD}")
    parts = ("server.key", "server.pem", "ca.pem")
    (directory / "keystore.pem").write_text("".join((directory / p).read_text() for p in parts))


class Broker:
    """One broker. start() after kill() or stop() goes on with the same ports and data."""

    def __init__(self, version=DEFAULT_VERSION, sasl=False, tls=False, acl=False, bench=False,
                 properties=None):
        self.version = version
        self.home = kafka_home(version)
        self.sasl, self.tls, self.acl, self.bench = sasl, tls, acl, bench
        self.extra = dict(properties or {})
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="penstock-kafka-"))
        self.log = self.directory / "broker.log"
        self.process = None
        names = ["PLAINTEXT", "CONTROLLER"] + ["SASL_PLAINTEXT"] * sasl + ["SSL"] * tls
        names += ["SASL_SSL"] * (sasl and tls)
        self.ports = dict(zip(names, free_ports(len(names))))
        try:
            if tls:
                make_certificates(self.directory)
            self._write_properties()
            self._format()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def bootstrap(self):
        return self.address("PLAINTEXT")

    def address(self, listener):
        """host:port of PLAINTEXT, SASL_PLAINTEXT, SSL or SASL_SSL."""
        return f"127.0.0.1:{self.ports[listener]}"

    def file(self, name):
        """Path of ca.pem, client.pem, client.key or client-encrypted.key."""
        return str(self.directory / name)

    def start(self, timeout=60):
        """Starts it and waits until it answers a metadata request."""
        if self.process is not None:
            raise BrokerError("the broker runs already")
        since = self.log.stat().st_size if self.log.exists() else 0
        self._launch(self._shared_classes())
        end = time.monotonic() + timeout
        while not self._started(since):
            if self.process.poll() is not None:
                self.process = None
                raise BrokerError(f"the broker ended at once:\n{self._log_tail()}")
            if time.monotonic() > end:
                self.kill()
                raise BrokerError(f"the broker was not ready in {timeout} s:\n{self._log_tail()}")
            time.sleep(0.02)

    def stop(self):
        """An orderly end, about 2 s."""
        self._end(signal.SIGTERM)

    def kill(self):
        """kill -9."""
        self._end(signal.SIGKILL)

    def freeze(self):
        """SIGSTOP: the sockets stay open, nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def pid(self):
        return self.process.pid

    def close(self):
        """kill -9, and the data is gone."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _end(self, how):
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _shared_classes(self):
        archive = self.home / "broker.jsa"
        share = [f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
        return share if archive.exists() else []

    def _java(self, *arguments, extra=()):
        jvm = JVM + ([] if self.bench else JVM_QUICK)
        log = [f"-Dlog4j2.configurationFile={HERE}/log4j2.properties",
               f"-Dlog4j.configuration=file:{HERE}/log4j.properties",
               f"-Dkafka.logs.dir={self.directory}"]
        return ["java", *jvm, *log, *extra, "-cp", f"{self.home}/lib/*", *arguments]

    def _launch(self, extra):
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self._java("kafka.Kafka", str(self.directory / "server.properties"), extra=extra),
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.directory,
                preexec_fn=die_with_parent)

    def _format(self):
        command = ["kafka.tools.StorageTool", "format", "--ignore-formatted",
                   "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", str(self.directory / "server.properties")]
        if self.sasl:
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
                command += ["--add-scram", f"{mechanism}=[name={SCRAM_USER},"
                                           f"password={SCRAM_PASSWORD},iterations=4096]"]
        done = subprocess.run(self._java(*command, extra=self._shared_classes()),
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BrokerError(f"cannot format the storage:\n{done.stdout}{done.stderr}")

    def _write_properties(self):
        all_of = dict(PROPERTIES)
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in self.ports.items())
        advertised = ",".join(f"{name}://127.0.0.1:{port}" for name, port in self.ports.items()
                              if name != "CONTROLLER")
        protocols = ",".join(f"{name}:{'PLAINTEXT' if name == 'CONTROLLER' else name}"
                             for name in self.ports)
        all_of.update({
            "controller.quorum.voters": f"1@127.0.0.1:{self.ports['CONTROLLER']}",
            "listeners": listeners,
            "advertised.listeners": advertised,
            "listener.security.protocol.map": protocols,
            "log.dirs": self.directory / "data",
        })
        if self.sasl:
            all_of.update(self._sasl_properties())
        if self.tls:
            all_of.update({
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": self.directory / "keystore.pem",
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": self.directory / "ca.pem",
                "ssl.client.auth": "requested",
            })
        if self.acl:
            all_of.update({
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
                "allow.everyone.if.no.acl.found": "true",
            })
        all_of.update(self.extra)
        text = "".join(f"{key}={value}\n" for key, value in all_of.items())
        (self.directory / "server.properties").write_text(text)

    def _sasl_properties(self):
        out = {"sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"}
        security = "org.apache.kafka.common.security"
        for name in self.ports:
            if not name.startswith("SASL"):
                continue
            prefix = f"listener.name.{name.lower()}"
            out[f"{prefix}.plain.sasl.jaas.config"] = (
                f'{security}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";')
            for mechanism in ("scram-sha-256", "scram-sha-512"):
                out[f"{prefix}.{mechanism}.sasl.jaas.config"] = (
                    f"{security}.scram.ScramLoginModule required;")
        return out

    def _started(self, since):
        with self.log.open("rb") as log:
            log.seek(since)
            return b"Kafka Server started" in log.read() and self._answers()

    def _answers(self):
        """Whether a Metadata request (version 1, no topics) names a broker."""
        body = struct.pack(">hhih", 3, 1, 7, -1) + struct.pack(">i", 0)
        try:
            address = ("127.0.0.1", self.ports["PLAINTEXT"])
            with socket.create_connection(address, timeout=2) as peer:
                peer.sendall(struct.pack(">i", len(body)) + body)
                head = peer.recv(12, socket.MSG_WAITALL)
        except OSError:
            return False
        return len(head) == 12 and struct.unpack(">iii", head)[2] > 0

    def _log_tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def make_archive(version):
    """Runs a broker once and keeps the classes that it loaded: later ones start twice as fast."""
    home = kafka_home(version)
    fresh = home / f"broker.jsa.{os.getpid()}"
    broker = Broker(version)
    try:
        broker._launch([f"-XX:ArchiveClassesAtExit={fresh}"])
        end = time.monotonic() + 60
        while not broker._started(0):
            if broker.process.poll() is not None or time.monotonic() > end:
                raise BrokerError(f"the broker does not start:\n{broker._log_tail()}")
            time.sleep(0.05)
        broker.stop()
        if fresh.exists():
            fresh.rename(home / "broker.jsa")
    finally:
        fresh.unlink(missing_ok=True)
        broker.close()


def serve(options):
    """The program: start, print where it listens, obey stdin until its end."""
    properties = dict(pair.split("=", 1) for pair in options.set)
    with Broker(options.version, options.sasl, options.tls, options.acl, options.bench,
                properties) as broker:
        for listener in broker.ports:
            if listener != "CONTROLLER":
                print(listener, broker.address(listener))
        print("DIRECTORY", broker.directory)
        print("BOOTSTRAP", broker.bootstrap, flush=True)
        commands = {name: getattr(broker, name)
                    for name in ("start", "stop", "kill", "freeze", "thaw")}
        for line in sys.stdin:
            try:
                commands[line.strip()]()
                print("OK", flush=True)
            except KeyError:
                print("ERROR unknown command; one of", *commands, flush=True)
            except BrokerError as error:
                print("ERROR", str(error).replace("\n", " | "), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    sub = parser.add_subparsers(dest="command", required=True)
    run = sub.add_parser("run", help="start a broker, print its addresses, obey stdin to its end")
    run.add_argument("--version", default=DEFAULT_VERSION)
    run.add_argument("--sasl", action="store_true")
    run.add_argument("--tls", action="store_true")
    run.add_argument("--acl", action="store_true")
    run.add_argument("--bench", action="store_true", help="the JVM's optimising compiler")
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                     help="a broker property")
    archive = sub.add_parser("archive", help="make the class archive of a version")
    archive.add_argument("version")
    options = parser.parse_args()
    # An orderly end for whoever sends SIGTERM: the broker and its directory go too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if options.command == "run":
            serve(options)
        else:
            make_archive(options.version)
    except NoJars as error:
        print(error, file=sys.stderr)
        return EXIT_NO_JARS
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
