"""A minute at half load or less: memory and open files stay as they are (ten minutes: `python -m tests.soak`)."""

from pathlib import Path

import pytest

from tests.soak import CACHE_MB, soak, stage

STEP_SECONDS = 10.0
STEPS = 6
MOST_RATE = 40_000  # queries a second, which leaves the machine room for what is tested beside
MOST_FILES = 2000  # with the sockets of questions on their way, and those that are kept ready
# What the allocator may still take in its second half, when the cache is full.
FLAT_MB = 0.5 * CACHE_MB


@pytest.mark.resolver
@pytest.mark.slow
def test_a_minute_at_half_load_leaves_memory_flat(tmp_path: Path):
    with stage(tmp_path) as live:
        samples = list(soak(live, tmp_path, STEPS * STEP_SECONDS, STEP_SECONDS, MOST_RATE))
        shown = live.metrics()
    for sample in samples:
        print(sample.text())
    half = samples[STEPS // 2 :]
    assert max(s.memory for s in half) - min(s.memory for s in half) < FLAT_MB
    assert max(s.files for s in samples) < MOST_FILES
    assert shown["blocker_dns_cache_bytes"] <= CACHE_MB << 20
    assert shown["blocker_dns_faults_total"] == 0
    sent = sum(s.hits.sent + s.misses.sent for s in samples)
    lost = sum(s.hits.lost + s.misses.lost for s in samples)
    assert lost <= sent / 20, "at half load nothing is lost but what a busy machine loses"
