"""Several processes on one port."""

import mmap

from services.workers import Worker


def test_all_have_started_once_each_has():
    started = mmap.mmap(-1, 2)
    first, second = Worker(0, started), Worker(1, started)
    assert not first.all_started
    first.start()
    assert not first.all_started
    second.start()
    assert first.all_started
    assert second.all_started
