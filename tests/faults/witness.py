"""The witness outside the gateway: reads the lines that the plugins `witness` write.

plugins/witness_pipe.h says which they are."""

import contextlib
import fcntl
import os
import threading

PIPE_BYTES = 1 << 20


class Records:
    """What lines of a witness say. Each list is in the order of the lines."""

    def __init__(self):
        self.emitted = {}  # source: [(first, last)]
        self.acked = {}  # source: [number]
        self.delivered = {}  # (sink, source): [number]
        self.rejected = {}  # (sink, source): [number]
        self.broken = {}  # sink: how many payloads were not intact
        self.failed = []  # (what failing.so let fail, {source: acknowledged until then})

    def add(self, line):
        kind, name, *rest = line.split()
        if kind == "E":
            self.emitted.setdefault(name, []).append((int(rest[0]), int(rest[1])))
        elif kind == "A":
            self.acked.setdefault(name, []).append(int(rest[0]))
        elif kind == "D":
            self.delivered.setdefault((name, rest[0]), []).append(int(rest[1]))
        elif kind == "R":
            self.rejected.setdefault((name, rest[0]), []).append(int(rest[1]))
        elif kind == "F":
            acked = {source: len(numbers) for source, numbers in self.acked.items()}
            self.failed.append((f"{name} {rest[0]}", acked))
        elif kind == "X":
            self.broken[name] = self.broken.get(name, 0) + 1
        else:
            raise ValueError(f"not a line of a witness: {line!r}")

    def next_number(self, source):
        """One past the highest number that the source may have used."""
        return max((last for _, last in self.emitted.get(source, [])), default=0) + 1


def read_records(lines):
    records = Records()
    for line in lines:
        records.add(line)
    return records


class Witness:
    """Reads a FIFO of its own in a thread, over any number of lives of the gateway."""

    def __init__(self, directory, name="witness"):
        self.path = directory / name
        self.log = directory / f"{name}.lines"
        os.mkfifo(self.path)
        self.records = Records()
        self.lock = threading.Lock()
        self.seen = threading.Condition(self.lock)
        self.drained = 0
        self.asked = 0
        self.reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(self.reader, True)
        self.writer = os.open(self.path, os.O_WRONLY)  # so that the reader never sees an end
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self):
        rest = b""
        with self.log.open("ab") as log:
            while True:
                block = os.read(self.reader, PIPE_BYTES)
                *lines, rest = (rest + block).split(b"\n")
                with self.seen:
                    for line in lines:
                        if line == b"end":
                            return
                        if line == b"drain":
                            self.drained += 1
                            continue
                        self.records.add(line.decode())
                        log.write(line + b"\n")
                    log.flush()
                    self.seen.notify_all()

    def wait_acked(self, source, count, timeout=60.0):
        """Until so many events of the source are acknowledged, of all its lives."""
        with self.seen:
            def enough():
                return len(self.records.acked.get(source, [])) >= count
            assert self.seen.wait_for(enough, timeout), (
                f"{len(self.records.acked.get(source, []))} of {count} acknowledgements of "
                f"{source} within {timeout:g} s")

    def drain(self, timeout=30.0):
        """All that was in the pipe is in records now. The gateway must not run."""
        os.write(self.writer, b"drain\n")
        with self.seen:
            self.asked += 1
            assert self.seen.wait_for(lambda: self.drained == self.asked, timeout), self.path
            return self.records

    def keep_next(self, source, file):
        """Tells the source, by its file `next`, where to go on."""
        file.write_text(f"{self.drain().next_number(source)}\n")

    def source(self, name, next_file, queue="", **options):
        """The source's tables."""
        lines = "".join(f"{key} = {value}\n" for key, value in options.items())
        table = (f'[sources.{name}]\nplugin = "witness"\nwitness = "{self.path}"\n'
                 f'next = "{next_file}"\n{lines}')
        return table + (f"[sources.{name}.queue]\n{queue}\n" if queue else "")

    def sink(self, name="out", sources=("orders",), **options):
        """The tables of a sink `witness`."""
        names = ", ".join(f'"{source}"' for source in sources)
        lines = "".join(f"{key} = {value}\n" for key, value in options.items())
        return (f'[sinks.{name}]\nplugin = "witness"\nfrom = [{names}]\nformat = "raw"\n'
                f'witness = "{self.path}"\n{lines}')

    def close(self):
        os.write(self.writer, b"end\n")
        self.thread.join(10)
        os.close(self.writer)
        os.close(self.reader)
