"""What /proc says of a process, as tests/bench/run reads it."""

from paths import load_bench

bench = load_bench()
cpu_seconds, peak_kib = bench.cpu_seconds, bench.peak_kib
