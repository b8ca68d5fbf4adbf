"""The sources that both are told to read: bytes and JSON, with metadata and without."""

import base64
import dataclasses
import json

from corpus import vectors

METADATA = {"b": "2", "a": "<1>", "Team": "sales & \u2028", "-": "", "\u00e4\U0001f600": "\u20ac",
            "a.b": '"\\\t\x7f'}


def odd_metadata():
    """Texts that Go was asked to write as strings, as far as programs take them as arguments and
    the gateway as keys."""
    texts = [text.decode(errors="ignore").replace("\0", "") for kind, text in vectors()
             if kind == "s"]
    keys = ["".join(c for c in text if c >= " " and c not in "=\x7f") for text in texts]
    return {f"{key}{number}": text for number, (key, text) in enumerate(zip(keys, texts))}


def toml(value):
    """A string, which in TOML is JSON's but for DEL, or a table of them."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return "{ " + ", ".join(f"{toml(key)} = {toml(value[key])}" for key in value) + " }"


@dataclasses.dataclass
class Source:
    """The gateway's table and Argo's EventSource object have the same name."""
    name: str
    json_body: bool
    metadata: dict = dataclasses.field(default_factory=dict)
    event: str = "ev"

    def table(self, server):
        return server.source(self.name, options=(
            f"insecure = true\nevent_source = {toml(self.name)}\nevent_name = {toml(self.event)}\n"
            f"json_body = {str(self.json_body).lower()}\nmetadata = {toml(self.metadata)}"))

    def place(self, bus):
        return bus.place(self.name, self.event)

    def body(self, payload):
        """What the event says of a payload that is taken as bytes."""
        return b'"' + base64.b64encode(payload) + b'"' if payload else b"null"


SOURCES = [Source("plain", False), Source("plain-with", False, METADATA, event="Ev_1"),
           Source("json", True, event='b&"\u00e4\u20ac/\u2028x'),
           Source("json-with", True, odd_metadata())]
