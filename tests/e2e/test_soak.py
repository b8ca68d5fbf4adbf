"""The store under load for long: its file does not grow, and many queues cost no more syncs."""

import functools
import struct

import pytest
from conftest import FULL
from harness.process import wait_until
from test_store_tools import dead_bus, queues

MIB = 1 << 20
SIZES = ("100B", "3000B", "20KiB", "300KiB")


def source(name, **options):
    queue = ", ".join(['storage = "disk"'] +
                      [f"{key} = {options.pop(key)}" for key in ("max_events", "max_bytes")
                       if key in options])
    lines = "".join(f"{key} = {value}\n" for key, value in options.items())
    return f'[sources.{name}]\nplugin = "generator"\nqueue = {{ {queue} }}\n{lines}'


def null_sink(*sources):
    return f'[sinks.void]\nplugin = "null"\nfrom = {list(sources)}\n'.replace("'", '"')


def config(state_dir, *parts):
    return (f'[gateway]\nstate_dir = "{state_dir}"\nadmin_socket = "admin.sock"\n'
            'shutdown_timeout = "0s"\n' + "".join(parts))


def commits(state_dir):
    """How many transactions LMDB has committed, of its two meta pages (struct MDB_meta)."""
    with (state_dir / "store" / "data.mdb").open("rb") as data:
        raw = data.read(8192)
    return max(struct.unpack_from("<Q", raw, page + 144)[0] for page in (0, 4096))


@pytest.mark.timeout(1800 if FULL else 120)
def test_the_file_stays_flat_beside_a_dead_sink(gateway, tmp_path):
    bound = 4 * MIB
    busy = {f"busy{n}": size for n, size in enumerate(SIZES)}
    running = gateway(config(
        tmp_path / "state",
        source("dead", size='"1KiB"', max_bytes=bound), dead_bus(source="dead"),
        *(source(name, size=f'"{size}"', max_bytes=bound) for name, size in busy.items()),
        null_sink(*busy)))
    data = tmp_path / "state" / "store" / "data.mdb"
    sizes = {name: int(size.replace("KiB", "")) << 10 if "KiB" in size else int(size[:-1])
             for name, size in busy.items()}

    def passed(times):
        """Whether so many times its bound has passed through each busy queue."""
        seen = queues("--config", running.config)
        return all(seen[name]["end"] * size >= times * bound for name, size in sizes.items())
    wait_until(lambda: queues("--config", running.config)["dead"]["bytes"] > bound * 9 // 10,
               "the full queue of the dead sink", 60)
    file_sizes = {}
    for times in (30, 100, 300, 1000, 4000) if FULL else (30, 100):
        wait_until(functools.partial(passed, times), f"{times} times the bound", 1500)
        file_sizes[times] = data.stat().st_size
        print(f"after {times} times the bound of each queue: {file_sizes[times] / MIB:.1f} MiB")
    # What is free lies in pieces, of which a commit of 1 MiB wants some that are whole.
    assert max(file_sizes.values()) <= 1.25 * file_sizes[30]
    assert max(file_sizes.values()) <= 3 * bound * (len(busy) + 1)
    seen = queues("--config", running.config)
    assert seen["dead"]["begin"] == 0 and seen["dead"]["bytes"] <= bound


def test_a_hundred_queues_share_commits_and_keep_their_own_bounds(gateway, tmp_path):
    total, seconds = 20_000 if FULL else 6_000, 10 if FULL else 3

    def run(n):
        """Commits while n sources emit it all, beside a queue that is full."""
        state = tmp_path / f"state{n}"
        names = [f"s{k}" for k in range(n)]
        running = gateway(config(
            state,
            source("full", max_events=50, size=100), dead_bus(source="full"),
            *(source(name, count=total // n, rate=total // seconds // n) for name in names),
            null_sink(*names)), name=f"gateway{n}")

        def ended():
            return sum(queue["end"] for name, queue in queues("--config", running.config).items()
                       if name != "full")
        wait_until(lambda: ended() == total, "all events", 60)
        seen = queues("--config", running.config)
        assert {queue["end"] for name, queue in seen.items() if name != "full"} == {total // n}
        assert seen["full"]["end"] == 50
        running.stop()
        return commits(state)
    one, hundred = run(1), run(100)
    print(f"commits for {total} events in {seconds} s: {one} from one source, {hundred} from 100")
    # The sources themselves are put into the store when the gateway starts.
    assert hundred <= one * 1.5 + 100
