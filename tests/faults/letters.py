"""Dead letters, as the user sees them with penstock deadletters."""

import base64
import dataclasses
import json


@dataclasses.dataclass
class Letter:
    source: str
    id: str
    reason: str  # "rejected: the message of ..."
    payload: bytes


def listed(gateway, *words):
    return [json.loads(line) for line in
            gateway.tool("deadletters", "list", "--json", *words).splitlines()]


def shown(gateway, letter):
    event = json.loads(gateway.tool("deadletters", "show", letter["id"], "--json"))["event"]
    payload = (event["payload"].encode() if "payload" in event
               else base64.b64decode(event["data_base64"]))
    return Letter(letter["source"], letter["id"], f'{letter["why"]}: {letter["reason"]}', payload)


def read_letters(gateway):
    """All of them, none twice."""
    letters = [shown(gateway, letter) for letter in listed(gateway)]
    assert len({letter.id for letter in letters}) == len(letters), "a dead letter is there twice"
    return letters


def replay_all(gateway):
    return gateway.tool("deadletters", "replay", "--all")
