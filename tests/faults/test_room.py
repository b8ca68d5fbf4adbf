"""A disk that is full, becomes read-only or fails, below a gateway under load."""

import time

import pytest

from harness.gateway import run_penstock
from harness.process import wait_until
from lives import Lives, PLUGINS
from small_disk import SmallDisk
from verdict import judge

NO_SPACE = "No space left on device"
READ_ONLY = "Read-only file system"


class Load(Lives):
    """A gateway in its one or two lives, whose disk is in trouble."""

    def __init__(self, tmp_path, start, witness, nats, seed, queue="", env=None):
        super().__init__(tmp_path, start, witness, nats.sink(), seed, "disk", queue=queue,
                         rate=2000)
        self.gateway.env.update(env or {})
        self.nats, self.faults = nats, {}

    def emitted(self):
        with self.witness.lock:
            return self.witness.records.next_number("orders") - 1

    def wait_store(self, state):
        def so():
            seen = self.gateway.status()
            return seen["store"]["state"] == state and seen
        return wait_until(so, lambda: f"store {state}, not {self.gateway.status()['store']}")

    def wait_blocked(self):
        """Nothing is emitted or acknowledged any more, over two tries of the store."""
        seen = {"at": time.monotonic(), "numbers": None}

        def still():
            numbers = (self.emitted(), self.acked())
            if numbers != seen["numbers"]:
                seen.update(at=time.monotonic(), numbers=numbers)
            return time.monotonic() - seen["at"] > 2.5
        wait_until(still, lambda: f"a source that waits; it is at {seen['numbers']}")

    def judged(self, report):
        verdict = report.judge(self.finish(), self.nats.payloads(), gateway=self.gateway,
                               faults=self.faults, max_duplicates=0)
        assert verdict.rows["orders"].acked > 0


@pytest.fixture
def small_disk(tmp_path):
    disks = []

    def make(kind):
        disks.append(SmallDisk(tmp_path / "gateway-state", kind))
        return disks[0]
    yield make
    for disk in disks:
        disk.close()


@pytest.fixture
def full(small_disk, tmp_path, start, witness, nats, report):
    """full(kind) -> a load whose disk is full, as is seen from outside, and whose bus is away"""
    def make(kind, queue=""):
        nats.kill()
        disk = small_disk(kind)
        load = Load(tmp_path, start, witness, nats, report.seed, queue)
        load.disk, load.faults = disk, {"full disk": 1}
        load.begin()
        load.wait_acked(500)
        disk.fill()
        store = load.wait_store("full")["store"]
        assert NO_SPACE in store["reason"] and str(disk.path) in store["reason"]
        text = load.gateway.tool("status")
        assert "store: full" in text and NO_SPACE in text
        assert "free some disk space" in load.gateway.text()
        return load
    return make


DISKS = pytest.mark.parametrize("kind", ["tmpfs", "ext4"])


@DISKS
def test_goes_on_by_itself_when_space_returns(kind, full, nats, report):
    load = full(kind)
    load.wait_blocked()
    waits = load.gateway.status()["sources"][0]["queue"]
    assert waits["unstored"] > 0 and waits["dropped_newest"] == 0
    load.disk.free()
    load.wait_store("good")
    load.wait_acked(500)
    assert "there is room again" in load.gateway.text()
    nats.start()
    load.judged(report)


@DISKS
def test_what_the_sinks_deliver_makes_room_too(kind, full, nats, report):
    load = full(kind)
    load.wait_blocked()
    nats.start()
    # The cursor moves, on disk too, and the space that it frees is used again.
    load.wait_acked(500)
    assert load.gateway.status()["routes"][0]["cursor"]["committed"] > 0
    assert (load.disk.path / "ballast").exists()
    load.judged(report)


@DISKS
def test_a_kill_and_a_restart_while_it_is_full(kind, full, nats, report):
    load = full(kind)
    load.gateway.kill()
    load.disk.fill()
    load.begin()
    load.wait_store("full")
    had = load.gateway.status()["routes"][0]["ledger"]["pending"]
    assert had >= 500
    nats.start()
    nats.wait_count(had)
    load.faults["kill gateway"] = 1
    load.judged(report)


@pytest.mark.parametrize("when_full", ["drop_newest", "drop_oldest"])
def test_a_source_that_may_drop_is_not_held_up(when_full, full, nats, report):
    load = full("tmpfs", f'when_full = "{when_full}"')
    load.wait_acked(2000)
    load.wait_store("full")
    load.disk.free()
    nats.start()
    records = load.finish()
    dropped = load.gateway.ledger("orders", "bus").dropped["when_full"]
    row = judge(records.emitted, records.acked, nats.payloads(), max_duplicates=0).rows["orders"]
    wrong = row.invented or row.altered or row.duplicates
    report.add(0 < dropped == len(row.lost) and not wrong, load.faults,
               [f"{dropped} dropped, {len(row.lost)} not on the bus"], emitted=row.emitted,
               acked=row.acked)


def test_a_file_system_that_becomes_read_only(small_disk, tmp_path, start, witness, nats, report):
    disk = small_disk("ext4")
    load = Load(tmp_path, start, witness, nats, report.seed)
    load.begin()
    load.wait_acked(500)
    disk.fail()
    assert load.gateway.wait_for_end() == 1, load.gateway.tail()
    text = load.gateway.text()
    assert READ_ONLY in text and "nothing more is stored from here on" in text
    # Until it is mended: not the exit status after which nobody tries again.
    again = run_penstock("run", "--config", load.gateway.config,
                         plugin_dir=":".join(map(str, PLUGINS)))
    assert again.returncode == 1 and READ_ONLY in again.stderr, again.stderr
    disk.check_and_mount()
    load.begin()
    load.faults = {"read-only file system": 1}
    load.judged(report)


@pytest.mark.parametrize("call, file", [
    ("pwrite", "data.mdb"), ("writev", "data.mdb"), ("meta", "data.mdb"), ("sync", "data.mdb"),
    ("allocate", "data.mdb"), ("meta", "seal")])
def test_an_error_of_the_disk_ends_the_gateway(call, file, tmp_path, start, witness, nats, report):
    control = tmp_path / "control"
    env = {"LD_PRELOAD": str(PLUGINS[-1].parent / "failing.so"),
           "PENSTOCK_FAIL_DIR": str(tmp_path / "gateway-state"),
           "PENSTOCK_FAIL_CONTROL": str(control), "PENSTOCK_FAIL_MARK": str(witness.path)}
    if call == "allocate":
        nats.kill()  # so that the file grows
    load = Load(tmp_path, start, witness, nats, report.seed, env=env)
    load.begin()
    load.wait_acked(load.choose.randrange(300, 1000))
    whole = tmp_path / "control.new"
    whole.write_text(f"{call} 5 /{file}\n")
    whole.rename(control)
    assert load.gateway.wait_for_end() == 1, load.gateway.tail()
    text = load.gateway.text()
    assert "Input/output error" in text, load.gateway.tail()
    assert "nothing more is stored from here on" in text and "start the gateway again" in text
    records = witness.drain()
    assert records.failed, f"no {call} failed"
    failed, acked = records.failed[0]
    assert failed.startswith(f"{call} ")
    assert acked == {source: len(numbers) for source, numbers in records.acked.items()}, (
        "acknowledged after the error")
    control.unlink()
    if call == "allocate":
        nats.start()
    load.begin()
    load.gateway.wait_for("the last stop was not a clean one")
    load.faults = {"EIO": 1}
    load.judged(report)
