"""What the README tells people to copy works as it stands, but for the addresses."""

import json
import re

from harness.event_server import assert_consecutive
from harness.gateway import run_penstock
from harness.process import ROOT

EVENTS = 10


def readme_config():
    blocks = re.findall(r"^```toml\n(.*?)^```", (ROOT / "README.md").read_text(), re.S | re.M)
    assert len(blocks) == 1, "the README has one configuration to copy"
    return blocks[0]


def test_config_to_copy(tmp_path, event_server, nats_server, kafka, gateway):
    server, nats = event_server("python"), nats_server()
    config = readme_config()
    for documented, here in (("127.0.0.1:50051", server.url), ("nats://127.0.0.1:4222", nats.url),
                             ("127.0.0.1:9092", kafka.broker.bootstrap)):
        assert documented in config
        config = config.replace(documented, here)
    (tmp_path / "readme.toml").write_text(config)
    checked = run_penstock("check", "--config", tmp_path / "readme.toml")
    assert checked.returncode == 0, checked.stderr

    running = gateway(config, name="readme")
    running.wait_for_sink("bus")
    nats.wait_count(EVENTS)
    kafka.wait_count(EVENTS, "orders")
    running.stop_clean()
    messages, values = nats.read(), kafka.values("orders")
    assert {message.subject for message in messages} == {"events.orders.created"}
    envelopes = [json.loads(message.data) for message in messages]
    assert {(e["source"], e["subject"]) for e in envelopes} == {("orders", "created")}
    assert [e["data"] for e in envelopes] == [json.loads(value) for value in values]
    assert_consecutive([e["data"]["seq"] for e in envelopes], len(envelopes))
