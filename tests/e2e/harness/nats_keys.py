"""Keys of NATS, and the JWTs of a server in operator mode."""

import base64
import hashlib
import json
import os

import nkeys


class Key:
    def __init__(self, prefix):
        self.seed = bytes(nkeys.encode_seed(os.urandom(32), prefix))
        self.pair = nkeys.from_seed(self.seed)
        self.public = self.pair.public_key.decode()

    def jwt(self, subject, name, claims):
        """What this key says of the subject."""
        def part(value):
            return base64.urlsafe_b64encode(value).rstrip(b"=")
        body = {"iat": 1700000000, "iss": self.public, "name": name, "sub": subject,
                "nats": {**claims, "version": 2}}
        body["jti"] = base64.b32encode(hashlib.sha256(json.dumps(body).encode()).digest()).decode()
        text = part(b'{"typ":"JWT","alg":"ed25519-nkey"}') + b"." + part(json.dumps(body).encode())
        return (text + b"." + part(self.pair.sign(text))).decode()


def user_key():
    return Key(nkeys.PREFIX_BYTE_USER)


def operator_mode():
    """(the server's configuration, the text of a user's credentials file)"""
    operator, user = Key(nkeys.PREFIX_BYTE_OPERATOR), user_key()
    account, system = Key(nkeys.PREFIX_BYTE_ACCOUNT), Key(nkeys.PREFIX_BYTE_ACCOUNT)
    limits = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
              "wildcards": True, "conn": -1, "leaf": -1}
    storage = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    accounts = {key.public: operator.jwt(key.public, name, {"type": "account", "limits": limit})
                for key, name, limit in ((account, "A", {**limits, **storage}),
                                         (system, "SYS", limits))}
    preload = ", ".join(f"{public}: {jwt}" for public, jwt in accounts.items())
    config = (f"operator: {operator.jwt(operator.public, 'O', {'type': 'operator'})}\n"
              f"system_account: {system.public}\nresolver: MEMORY\n"
              f"resolver_preload: {{ {preload} }}\n")
    allowed = {"type": "user", "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1}
    credentials = (f"-----BEGIN NATS USER JWT-----\n{account.jwt(user.public, 'u', allowed)}\n"
                   "------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n"
                   f"{user.seed.decode()}\n------END USER NKEY SEED------\n")
    return config, credentials
