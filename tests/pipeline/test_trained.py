import numpy as np

from pipeline import trained


def test_examples_are_known_by_what_was_recorded():
    numbers = np.random.default_rng(0).integers(0, 1 << 64, 1000, np.uint64)
    recorded = trained.record(np.concatenate([numbers[:900], numbers[:50]]))  # some twice
    assert len(recorded) == 900 * trained.KEPT
    assert trained.known(numbers, recorded).tolist() == [True] * 900 + [False] * 100
    assert not trained.known(numbers, trained.record(numbers[:0])).any()
