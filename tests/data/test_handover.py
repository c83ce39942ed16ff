"""data.handover: batches come whole however little memory processes share."""

import pytest
import torch
from speechbrain.dataio.batch import PaddedBatch
from torch.utils.data import DataLoader

from local.data import handover, loaders

#: Three recordings, one without a target; batches of two.
ITEMS = [
    {"id": "a", "waveform": torch.arange(5.0), "target": torch.tensor([1.0])},
    {"id": "b", "waveform": torch.arange(3.0), "target": torch.tensor([float("nan")])},
    {"id": "c", "waveform": torch.arange(4.0), "target": torch.tensor([0.0])},
]


@pytest.fixture
def memory(monkeypatch):
    """A function that sets how much there is, in all and free."""
    handover._warn.cache_clear()

    def there_is(total, free):
        monkeypatch.setattr(handover, "_shared_memory", lambda: (total, free))

    return there_is


def loaded(n_workers=1):
    settings = loaders.workers(n_workers, seed=0)
    return list(DataLoader(ITEMS, batch_size=2, **settings))


@pytest.mark.parametrize(
    ("free", "shared"), [(10**9, True), (3 * 10**5, True), (2 * 10**5, False)]
)
def test_batches_are_the_same_by_either_way(memory, free, shared):
    """A small batch counts as 64 KiB, and a worker has four on their way."""
    memory(10**10, free)
    found, expected = loaded(), [PaddedBatch(ITEMS[:2]), PaddedBatch(ITEMS[2:])]
    assert len(found) == 2
    for batch, other in zip(found, expected, strict=True):
        assert batch.waveform.data.is_shared() == shared
        assert batch.id == other.id
        assert torch.equal(batch.waveform.data, other.waveform.data)
        assert torch.equal(batch.waveform.lengths, other.waveform.lengths)
        assert torch.equal(batch.target.data.isnan(), other.target.data.isnan())


def test_what_a_batch_takes():
    """All recordings are as long as the longest, wherever the tensors are."""
    item = {"id": "a", "measured": ({"x": 1.0}, torch.zeros(7)), "w": torch.zeros(2)}
    assert handover._tensor_bytes(item) == 4 * 9
    assert handover._tensor_bytes({"measured": ({"x": 1.0}, None)}) == 0


@pytest.mark.parametrize(
    ("total", "free", "n_fit", "message"),
    [
        (
            64_000_000,
            60_000_000,
            4,
            "/dev/shm has 64.00 MB: batches that it is too small",
        ),
        (10**10, 10**10, 4, None),
        (
            10**10,
            150_000,
            2,
            "has 10000.00 MB, 0.15 free: num_workers is 2 (Docker has",
        ),
        (12_000, 12_000, 0, "num_workers is 0"),
        (float("inf"), float("inf"), 4, None),
    ],
)
def test_workers_that_fit(memory, caplog, total, free, n_fit, message):
    memory(total, free)
    for _ in range(2):
        assert handover.workers_that_fit(4) == n_fit
    assert [message in text for text in caplog.messages] == [True] * bool(message)


def test_without_workers_nothing_is_said(memory, caplog):
    memory(0, 0)
    assert [batch.id for batch in loaded(0)] == [["a", "b"], ["c"]]
    assert not caplog.messages


def test_with_no_room_at_all_this_process_decodes(memory):
    memory(0, 0)
    assert [batch.id for batch in loaded(2)] == [["a", "b"], ["c"]]
