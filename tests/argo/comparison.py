"""What the gateway wrote beside what Argo wrote, for the same payloads."""

import dataclasses
import datetime
import re

from buses import Written
from letters import listed, shown

ID = re.compile(rb'"id":"([0-9a-f]{32})"')
TIME = re.compile(rb'"time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{0,8}[1-9])?Z)"')
SHOWN = 50  # of so many dead letters one is shown, which takes a process each


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def id_of(message):
    return ID.search(message.value)[1].decode()


def masked(messages, since):
    """Without ids and times, which must be right: one id each, also in the header, and a time of
    this test, without zeros at its end."""
    out, ids, slack = [], set(), datetime.timedelta(seconds=1)
    for message in messages:
        one, when = id_of(message), TIME.search(message.value)
        assert when, f"no time, or in another form: {message.value[:300]!r}"
        # Python reads microseconds at the most.
        at = datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", when[1].decode()))
        assert since - slack <= at <= now() + slack, f"not the time of this test: {when[1]}"
        ids.add(one)
        headers = {name: value.replace(one, "{ID}") for name, value in message.headers.items()}
        value = TIME.sub(b'"time":"{TIME}"', ID.sub(b'"id":"{ID}"', message.value, 1), 1)
        out.append(Written(message.place, headers, value))
    assert len(ids) == len(messages), "an id is there twice"
    return out


@dataclasses.dataclass
class Outcome:
    """What the gateway did with the payloads of one source, by their numbers."""
    written: dict  # number: Written
    dead: dict  # number: reason

    def check_whole(self, payloads):
        """Each payload has one end, and each dead one a reason."""
        assert not self.written.keys() & self.dead.keys()
        assert self.written.keys() | self.dead.keys() == set(range(len(payloads)))
        assert all(self.dead.values())


def outcome(gateway, source, messages, payloads):
    """Of the stopped gateway. An id that the gateway makes ends in the payload's number."""
    written = {int(id_of(message)[16:], 16): message for message in messages}
    assert len(written) == len(messages)
    dead = {}
    for letter in listed(gateway, "--source", source):
        number = letter["offset"]
        assert letter["id"].endswith(f"{number:016x}") and number not in dead
        assert letter["size"] == len(payloads[number])
        if len(dead) % SHOWN == 0:
            assert shown(gateway, letter).payload == payloads[number]
        dead[number] = f'{letter["why"]}: {letter["reason"]}'
    result = Outcome(written, dead)
    result.check_whole(payloads)
    return result


def short(text, where=0):
    part = text[max(0, where - 60):where + 140]
    return f"{len(text)} bytes, from {max(0, where - 60)} on {part!r}"


def assert_same(ours, theirs, payloads, since):
    """theirs: what Argo wrote, in its order; it must be what the gateway wrote, byte by byte."""
    numbers = sorted(ours.written)
    mine = masked([ours.written[number] for number in numbers], since)
    for number, one, other in zip(numbers, mine, masked(theirs, since)):
        if one == other:
            continue
        pairs = enumerate(zip(one.value, other.value))
        where = next((at for at, (a, b) in pairs if a != b), 0)
        raise AssertionError(
            f"payload {number}: {short(payloads[number])}\npenstock: {one.place} {one.headers} "
            f"{short(one.value, where)}\nargo: {other.place} {other.headers} "
            f"{short(other.value, where)}\n(or one of the two dropped what the other did not)")
    assert len(mine) == len(theirs), f"penstock wrote {len(mine)} messages, Argo {len(theirs)}"
