"""The link to the bus or to the event server is cut, or packets vanish and nobody is told."""

import time

import pytest
from harness.event_server import assert_consecutive, numbers_by_stream
from harness.process import wait_until
from lives import Gateway, Lives
from network import FarEventServer, FarKafka, FarNats, Network

FULL = pytest.mark.full
RATE = 1000
TRIP = 1.0  # of a reader of this test, on a busy machine

# The bounds. A packet that was lost is sent again by TCP within the time that the cut has lasted.
# A peer that stays silent is given up: by the sink nats-jetstream after 20 s (10 s to the ping, 10
# s for it; TCP_USER_TIMEOUT is 20 s as well), by librdkafka after socket.timeout.ms. What comes
# then is one attempt to connect that may have begun just before the end of the cut, and a pause.
NATS_SILENT, NATS_CONNECT = 20.0, 5.0
KAFKA_CLIENT = '"socket.timeout.ms" = 2000\n"socket.connection.setup.timeout.ms" = 2000'
KAFKA_SILENT, KAFKA_CONNECT = 2.0, 2.0
RETRY = 'retry = { initial = "100ms", max = "1s" }'
PAUSE = 1.0  # retry.max, reconnect.backoff.max.ms and reconnect.max alike


@pytest.fixture
def network():
    try:
        one = Network()
    except PermissionError as error:
        pytest.skip(f"network namespaces need root: {error}")
    yield one
    one.close()


@pytest.fixture
def far_nats(network, start, tmp_path):
    server = start(FarNats(network, tmp_path))
    server.add_stream()
    return server


@pytest.fixture
def far_kafka(network):
    bus = FarKafka(network)
    bus.add_topic("events")
    yield bus
    bus.close()


class Bus:
    """Either bus, as these tests see it."""

    def __init__(self, bus, sink, count, payloads, options, bound):
        self.bus, self.sink, self.count, self.payloads = bus, sink, count, payloads
        self.options, self.bound = options, bound

    def wait_more(self, than, what, timeout=30.0):
        begin = time.monotonic()
        wait_until(lambda: self.count() > than, lambda: f"{what}: more than {than}", timeout, 0.05)
        return time.monotonic() - begin


def jetstream(server, order="relaxed"):
    options = f'order = "{order}"\nack_timeout = "1s"\n{RETRY}'
    return Bus(server, server.sink(options=options), server.count, server.payloads,
               {"max_duplicates": 0, "strict": order == "strict"},
               lambda cut: min(cut, NATS_SILENT) + NATS_CONNECT + PAUSE)


def kafka(bus):
    return Bus(bus.broker, bus.sink("events", options=RETRY, client=KAFKA_CLIENT),
               lambda: bus.count("events"), lambda: bus.values("events"), {},
               lambda cut: min(cut, KAFKA_SILENT) + KAFKA_CONNECT + PAUSE)


def load(network, bus, tmp_path, start, witness, report, storage):
    lives = Lives(tmp_path, network.gateway.starter(start), witness, bus.sink, report.seed, storage,
                  rate=RATE)
    lives.begin()
    bus.wait_more(500, "the first events")
    return lives


def goes_on(bus, seconds, before):
    """After a cut of so many seconds."""
    took = bus.wait_more(before, "events after the cut", bus.bound(seconds) + TRIP)
    print(f"cut for {seconds:.1f} s, goes on after {took:.2f} s, at most {bus.bound(seconds):.1f}")
    bus.wait_more(before + 3 * RATE, "events after the cut")


def cut_and_mend(network, how, bus, seconds):
    at_first = bus.count()
    network.cut(how)
    begin = time.monotonic()
    time.sleep(seconds)  # what is tested is that time passes
    before = bus.count()
    network.mend(how)
    cut = time.monotonic() - begin
    assert before < at_first + RATE * cut / 2, "nothing was cut"
    goes_on(bus, cut, before)


@pytest.mark.parametrize("how, storage, order", [
    ("carrier", "disk", "strict"),
    ("silence", "memory", "relaxed"),
    pytest.param("carrier", "memory", "relaxed", marks=FULL),
    pytest.param("own link", "disk", "relaxed", marks=FULL),
    pytest.param("silence", "disk", "strict", marks=FULL),
    pytest.param("no answers", "disk", "relaxed", marks=FULL),
    pytest.param("no answers", "memory", "strict", marks=FULL)])
def test_jetstream_cut_for_longer_than_the_ack_timeout(how, storage, order, network, far_nats,
                                                       tmp_path, start, witness, report):
    bus = jetstream(far_nats, order)
    lives = load(network, bus, tmp_path, start, witness, report, storage)
    cut_and_mend(network, how, bus, seconds=2.5)
    finish(report, lives, bus, how)
    ledger, = lives.gateway.ledgers().values()
    assert ledger.notes.get("answers unknown"), "nothing was on its way when the link was cut"


@FULL
def test_jetstream_half_open_until_it_is_given_up(network, far_nats, tmp_path, start, witness,
                                                  report):
    bus = jetstream(far_nats)
    lives = load(network, bus, tmp_path, start, witness, report, "disk")
    running = lives.gateway
    written, begin = running.written(), time.monotonic()
    network.cut("silence")
    running.wait_for_sink("bus", "connecting", NATS_SILENT + 3 * TRIP, since=written)
    sink, = running.status()["sinks"]
    assert sink["state"] == "connecting", sink
    before = bus.count()
    network.mend("silence")
    goes_on(bus, time.monotonic() - begin, before)
    finish(report, lives, bus, "silence")


@pytest.mark.parametrize("how, storage", [
    ("silence", "disk"),
    pytest.param("carrier", "memory", marks=FULL),
    pytest.param("own link", "disk", marks=FULL),
    pytest.param("no answers", "memory", marks=FULL)])
def test_kafka_cut_for_longer_than_its_timeout(how, storage, network, far_kafka, tmp_path, start,
                                               witness, report):
    bus = kafka(far_kafka)
    lives = load(network, bus, tmp_path, start, witness, report, storage)
    cut_and_mend(network, how, bus, seconds=4)
    finish(report, lives, bus, how)


def finish(report, lives, bus, fault):
    """The verdict."""
    records = lives.finish()
    report.judge(records, bus.payloads(), gateway=lives.gateway, since=lives.since,
                 faults={fault: 1}, **bus.options)


def host_lost(network, bus, lives):
    """Its host goes without a word, and another one comes at its address, with its disk."""
    running, begin = lives.gateway, time.monotonic()
    network.cut("silence")
    bus.bus.kill()
    network.replace_server()
    written = running.written()
    bus.bus.start()
    before = bus.count()
    network.mend("silence")
    goes_on(bus, time.monotonic() - begin, before)
    return written


@pytest.mark.parametrize("storage", ["disk", pytest.param("memory", marks=FULL)])
def test_jetstream_on_another_host(storage, network, far_nats, tmp_path, start, witness, report):
    bus = jetstream(far_nats)
    lives = load(network, bus, tmp_path, start, witness, report, storage)
    written = host_lost(network, bus, lives)
    lives.gateway.wait_for_sink("bus", "connecting", since=written)
    finish(report, lives, bus, "host replaced")


@FULL
def test_kafka_on_another_host(network, far_kafka, tmp_path, start, witness, report):
    bus = kafka(far_kafka)
    lives = load(network, bus, tmp_path, start, witness, report, "disk")
    host_lost(network, bus, lives)
    finish(report, lives, bus, "host replaced")


# ---- the event server: what it had sent and the gateway had not received is not covered; what
# the gateway has received is delivered, without a gap.

SOURCE_CONNECT = 5.0
WATCHED = {"idle_timeout": 'insecure = true\nidle_timeout = "2s"',
           "keepalive_time": 'insecure = true\nkeepalive_time = "5s"'}
NOTICED = {"idle_timeout": 2, "keepalive_time": 5 + 20}  # s; gRPC's ping may take 20


@pytest.fixture
def near_nats(network, start, tmp_path):
    """On the gateway's own host."""
    server = start(FarNats(network, tmp_path, near=True))
    server.add_stream()
    return server


@pytest.fixture
def far_server(network, start, tmp_path):
    return start(FarEventServer(network, tmp_path, name="server"))


def read_by(network, server, bus, start, tmp_path, options):
    config = server.source("orders", options=options, rate=RATE) + bus.sink()
    running = network.gateway.starter(start)(Gateway(tmp_path, config))
    bus.wait_count(500)
    return running


def all_that_was_received(running, bus, streams, report, fault):
    running.stop_clean()
    ledger = running.ledger("orders", "bus")
    payloads = bus.payloads()
    found = numbers_by_stream(payloads)
    print({stream: len(numbers) for stream, numbers in found.items()})
    for numbers in found.values():
        assert_consecutive(numbers, len(numbers))
    assert len(found) == streams
    good = ledger.received == ledger.delivered == len(payloads)
    report.add(good, {fault: 1}, [] if good else [f"{len(payloads)} on the bus, {ledger}"],
               emitted=ledger.received, acked=ledger.received, ledgers=1)


def next_stream(network, server, bus, streams, bound):
    """After the end of a cut: more than so many streams, and events of theirs."""
    begin = time.monotonic()
    wait_until(lambda: len(server.streams()) > streams, "another stream", bound + TRIP)
    print(f"the next stream came after {time.monotonic() - begin:.2f} s, at most {bound}")
    before = bus.count()
    wait_until(lambda: bus.count() > before + RATE, "events of the next stream", 30, 0.1)


@pytest.mark.parametrize("how, watched", [
    ("silence", "idle_timeout"), pytest.param("no answers", "idle_timeout", marks=FULL),
    pytest.param("silence", "keepalive_time", marks=FULL)])
def test_event_server_half_open(how, watched, network, far_server, near_nats, start, tmp_path,
                                report):
    running = read_by(network, far_server, near_nats, start, tmp_path, WATCHED[watched])
    written = running.written()
    network.cut(how)
    running.wait_for(r"source orders: connecting", NOTICED[watched] + 3 * TRIP, since=written)
    time.sleep(1.5)  # attempts to connect get lost
    streams = len(far_server.streams())
    network.mend(how)
    next_stream(network, far_server, near_nats, streams, SOURCE_CONNECT + PAUSE)
    all_that_was_received(running, near_nats, 2, report, how)


def test_event_server_on_another_host(network, far_server, near_nats, start, tmp_path, report):
    """Its host is gone and comes back without its connections."""
    running = read_by(network, far_server, near_nats, start, tmp_path, WATCHED["idle_timeout"])
    network.cut("silence")
    far_server.kill()
    network.replace_server()
    far_server.start()
    network.mend("silence")
    next_stream(network, far_server, near_nats, 0, NOTICED["idle_timeout"] + SOURCE_CONNECT + PAUSE)
    all_that_was_received(running, near_nats, 2, report, "host replaced")
