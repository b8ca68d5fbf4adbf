"""Each defect is found, and named as what it is."""

import json
import os
import subprocess
import sys
import zlib

import pytest

import verdict
from verdict import judge
from witness import Witness, read_records


def payload(number, source="orders", body=b"body"):
    front = f"{source} {number} {len(body)} ".encode()
    return b"w1 %s%08x\n%s" % (front, zlib.crc32(body, zlib.crc32(front)), body)


def payloads(*numbers):
    return [payload(number) for number in numbers]


def judged(arrived, dead=(), acked=(1, 2, 3, 4), emitted=((1, 6),), **options):
    return judge({"orders": list(emitted)}, {"orders": list(acked)}, arrived, dead, **options)


STRICT = {"strict": True, "max_duplicates": 0}


def test_good():
    result = judged(payloads(1, 2, 3, 4), **STRICT)
    assert result.good(), result.table()
    assert result.rows["orders"].window == 2
    assert result.table().endswith("\ngood")


def test_what_was_not_acknowledged_may_arrive():
    result = judged(payloads(1, 2, 3, 4, 5), **STRICT)
    assert result.good(), result.table()
    assert result.rows["orders"].window == 1


def test_lost():
    result = judged(payloads(1, 2, 4))
    assert result.findings() == ["orders: 1 lost: [3]"]
    assert result.table().endswith("\nNOT GOOD")


def test_all_of_a_source_lost():
    assert judged([]).findings() == ["orders: 4 lost: [1, 2, 3, 4]"]


def test_a_dead_letter_is_not_lost():
    result = judged(payloads(1, 2, 4), payloads(3), **STRICT)
    assert result.good(), result.table()
    assert result.rows["orders"].dead == 1


def test_on_the_bus_and_a_dead_letter():
    result = judged(payloads(1, 2, 3, 4), payloads(3))
    assert result.good() and result.rows["orders"].in_both == [3]


def test_invented_number():
    assert judged(payloads(1, 2, 3, 4, 7)).findings() == ["orders: 1 invented: [7]"]


def test_invented_in_a_gap_between_two_lives():
    result = judged(payloads(1, 2, 3, 4, 5), emitted=[(1, 4), (10, 12)])
    assert result.findings() == ["orders: 1 invented: [5]"]


def test_invented_dead_letter():
    assert not judged(payloads(1, 2, 3, 4), payloads(9)).good()


def test_invented_source():
    result = judged([*payloads(1, 2, 3, 4), payload(1, "strangers")])
    assert result.findings() == ["strangers: 1 invented: [1]"]


@pytest.mark.parametrize("change", [
    lambda p: p[:-1],
    lambda p: p + b"x",
    lambda p: p[:-1] + bytes([p[-1] ^ 1]),
    lambda p: p.replace(b" 3 ", b" 5 ", 1),
    lambda p: p.replace(b"orders", b"bodies", 1),
    lambda p: b"{}",
    lambda p: b"",
])
def test_altered(change):
    result = judged([*payloads(1, 2), change(payload(3)), payload(4)])
    assert sum(row.altered for row in result.rows.values()) == 1
    assert "orders: 1 lost: [3]" in result.findings()


def test_altered_dead_letter():
    assert not judged(payloads(1, 2, 3, 4), [payload(5)[:-1]]).good()


def test_duplicates():
    arrived = payloads(1, 2, 2, 3, 4, 1)
    assert judged(arrived).rows["orders"].duplicates == [2, 1]
    assert judged(arrived, max_duplicates=2).good()
    assert judged(arrived, max_duplicates=1).findings() == ["orders: 2 duplicates: [2, 1]"]


def test_reordered():
    arrived = payloads(1, 3, 2, 4)
    assert judged(arrived).good()
    assert judged(arrived, strict=True).findings() == ["orders: 1 reordered: [2]"]


def test_a_repetition_is_not_a_changed_order():
    result = judged(payloads(1, 2, 3, 2, 3, 4), strict=True)
    assert result.good() and result.rows["orders"].duplicates == [2, 3]


def test_sources_are_judged_apart():
    both = {"a": [(1, 2)], "b": [(1, 2)]}
    arrived = [payload(2, "a"), payload(1, "b"), payload(2, "b"), payload(1, "a")]
    result = judge(both, {"a": [1], "b": [1, 2]}, arrived, strict=True)
    assert result.findings() == ["a: 1 reordered: [1]"]


def test_owed_without_acknowledgements():
    def found(arrived, owed):
        return judged(arrived, acked=(), owed=owed).findings()
    assert found(payloads(1, 2, 3), "gapless") == []
    assert found(payloads(1, 3), "gapless") == ["orders: 1 lost: [2]"]
    assert found([], "gapless") == []
    assert found(payloads(1, 2, 3), "all") == ["orders: 3 lost: [4, 5, 6]"]
    assert judged(payloads(1, 2, 3), acked=(), owed="gapless").rows["orders"].window == 3


def test_numbers_used_twice_are_the_tests_fault():
    with pytest.raises(AssertionError, match="used twice"):
        judged([], emitted=[(1, 5), (5, 9)])


LINES = ["E orders 1 4", "A orders 1", "D out orders 1", "A orders 2", "R out orders 2"]


def test_command_line(tmp_path):
    lines, bus, out = tmp_path / "lines", tmp_path / "bus", tmp_path / "out.json"
    lines.write_text("".join(line + "\n" for line in LINES))
    bus.write_text(payload(1).hex() + "\n")
    arguments = ["--witness", str(lines), "--json", str(out)]
    assert verdict.main([*arguments, "--sink", "out"]) == 0
    assert json.loads(out.read_text())["sources"]["orders"]["dead"] == 1
    assert verdict.main([*arguments, "--bus", str(bus)]) == 1
    assert json.loads(out.read_text())["sources"]["orders"]["lost"] == [2]
    lines.write_text("nonsense here\n")
    done = subprocess.run([sys.executable, verdict.__file__, *arguments, "--bus", str(bus)],
                          check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "nonsense" in done.stderr


def test_a_payload_that_the_sink_found_damaged():
    records = read_records([*LINES, "X out 17"])
    assert records.broken == {"out": 1}


def test_witness_reads_over_several_lives(tmp_path):
    one = Witness(tmp_path)
    try:
        for first in (1, 11):
            with open(one.path, "w") as life:
                life.write(f"E orders {first} {first + 9}\nA orders {first}\n")
        records = one.drain()
        assert records.acked == {"orders": [1, 11]}
        assert records.next_number("orders") == 21
        one.keep_next("orders", tmp_path / "next")
        assert (tmp_path / "next").read_text() == "21\n"
        assert one.log.read_text().count("\n") == 4
    finally:
        one.close()
    assert not os.access(tmp_path / "nothing", os.F_OK)
