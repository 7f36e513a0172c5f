"""States on disk: all that training needs, whole or not at all."""

import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from trainer import checkpoint
from trainer.checkpoint import Progress
from trainer.keeper import Keeper


def compiled(units: int = 3, optimizer: str = "adam") -> keras.Model:
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(units), keras.layers.Dropout(0.5)]
    )
    model.compile(optimizer, "mse", metrics=["mae"], run_eagerly=True)
    return model


def trained(steps: int = 1) -> keras.Model:
    """A small model whose every variable has left its first value."""
    model = compiled()
    for _ in range(steps):
        model.train_on_batch(np.ones((2, 4)), np.ones((2, 3)))
    return model


def values(model: keras.Model) -> list[np.ndarray]:
    kinds = (model.variables, model.optimizer.variables, model.metrics_variables)
    return [variable.numpy() for kind in kinds for variable in kind]


def equal(one: keras.Model, other: keras.Model) -> bool:
    return all(map(np.array_equal, values(one), values(other)))


def save(directory: Path, model: keras.Model, progress: Progress) -> None:
    checkpoint.save(directory, checkpoint.collect(model, progress))


def restore(directory: Path, model: keras.Model, between_epochs: bool = False) -> Progress | None:
    state = checkpoint.newest(directory, between_epochs)
    return None if state is None else checkpoint.put(model, state)


def entry(epoch: int, loss: float = 1.0) -> dict[str, float]:
    return {"epoch": epoch, "val_loss": loss, "seconds": 0.1}


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_state_brings_back_weights_optimizer_random_numbers_and_averages(tmp_path):
    model, progress = trained(), Progress([], 7, 1.5)
    save(tmp_path, model, progress)
    other = trained(steps=3)
    assert not equal(model, other)
    assert restore(tmp_path, other) == progress
    assert equal(model, other)
    for one in (model, other):
        one.train_on_batch(np.ones((2, 4)), np.ones((2, 3)))  # with the same dropout
    assert equal(model, other)


def test_without_a_state_nothing_is_restored(tmp_path):
    assert restore(tmp_path / "nowhere", trained()) is None


def test_two_states_stay_and_the_last_between_epochs(tmp_path):
    model = trained()
    for epochs, step in ((0, 0), (0, 5), (1, 0), (1, 5), (1, 10), (1, 15)):
        history = [entry(e + 1) for e in range(epochs)]
        save(tmp_path, model, Progress(history, step))
    assert names(tmp_path) == [
        "state-00001-00000000.npz",
        "state-00001-00000010.npz",
        "state-00001-00000015.npz",
    ]


def one_bit_flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[:-100], id="cut short"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: bytes(len(content)), id="zeros"),
        pytest.param(lambda content: one_bit_flipped(content, len(content) // 2), id="one bit"),
    ],
)
def test_a_damaged_newest_state_falls_back_to_the_one_before(tmp_path, damage, caplog):
    first, second = trained(1), trained(2)
    save(tmp_path, first, Progress(step=1))
    save(tmp_path, second, Progress(step=2))
    newest = tmp_path / Progress(step=2).name
    newest.write_bytes(damage(newest.read_bytes()))
    model = trained(3)
    assert restore(tmp_path, model) == Progress(step=1)
    assert equal(model, first)
    assert f"{newest} is damaged: going back to the one before" in caplog.text


def test_no_flipped_bit_of_a_state_passes(tmp_path):
    model = trained()
    save(tmp_path, model, Progress(step=1))
    path = tmp_path / Progress(step=1).name
    content = path.read_bytes()
    for place in range(0, len(content), 11):
        path.write_bytes(one_bit_flipped(content, place))
        assert restore(tmp_path, model) is None, f"byte {place} of {len(content)}"


def test_a_state_whose_best_weights_are_damaged_is_passed_over(tmp_path):
    model = trained()
    for epoch in (1, 2):  # each better than the one before
        checkpoint.save_best(tmp_path, model, epoch)
        history = [entry(e, 1 / e) for e in range(1, epoch + 1)]
        save(tmp_path, model, Progress(history))
    (tmp_path / "best-00002.npz").write_bytes(b"")
    found = restore(tmp_path, model)
    assert found is not None
    assert len(found.history) == 1


def test_going_back_between_epochs_leaves_out_states_inside_them(tmp_path):
    early = trained(1)
    save(tmp_path, early, Progress())
    for step in (10, 20):
        save(tmp_path, trained(2), Progress(step=step))
    model = trained(3)
    assert restore(tmp_path, model, between_epochs=True) == Progress()
    assert equal(model, early)


def test_what_came_after_a_progress_is_discarded(tmp_path):
    model = trained()
    for epoch in (1, 2):
        checkpoint.save_best(tmp_path, model, epoch)
        save(tmp_path, model, Progress([entry(e + 1) for e in range(epoch)]))
    (tmp_path / "state-00009.partial").touch()  # a process was killed while it wrote
    checkpoint.discard_later(tmp_path, Progress([entry(1)]))
    assert names(tmp_path) == ["best-00001.npz", "state-00001-00000000.npz"]


def test_a_state_of_another_network_or_optimizer_is_refused(tmp_path):
    save(tmp_path, trained(), Progress())
    with pytest.raises(ValueError, match="made by another model than the job describes"):
        restore(tmp_path, compiled(units=2))
    other = compiled(optimizer="sgd")
    other.train_on_batch(np.ones((2, 4)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="made by another optimizer than the job describes"):
        restore(tmp_path, other)


def test_best_weights_that_are_missing_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"no readable checkpoint .*best-00003\.npz: train first"):
        checkpoint.restore_best(tmp_path, trained(), 3)


def test_a_run_without_a_state_keeps_its_beginning(tmp_path):
    model = trained()
    assert Keeper(tmp_path).restore(model) == Progress()
    other = trained(2)
    assert Keeper(tmp_path).restore(other, between_epochs=True) == Progress()
    assert equal(model, other)


def test_states_are_due_every_so_many_steps_or_by_the_clock(tmp_path):
    by_steps = Keeper(tmp_path, every=5)
    assert [step for step in range(1, 12) if by_steps.is_due(Progress(step=step))] == [5, 10]
    by_the_clock = Keeper(tmp_path)
    assert not by_the_clock.is_due(Progress(step=5))  # far less than 10 s have passed


class Killed(BaseException):
    """Stands for the end of a process: nothing catches it."""


class Fuse:
    """Ends what runs at the n-th file operation in a directory, once it is lit."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.left = str(directory), -1
        sys.addaudithook(self._on_event)  # Python asks it before each operation, to the end

    def blows(self, operations: int, action: Callable[[], None]) -> bool:
        """Run the action with so many operations allowed, and tell whether it wanted more."""
        self.left = operations
        try:
            action()
        except Killed:
            return True
        finally:
            self.left = -1
        return False

    def _on_event(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.left < 0 or event not in ("open", "os.rename", "os.remove", "os.listdir"):
            return
        if str(arguments[0]).startswith(self.directory):
            if self.left == 0:
                raise Killed
            self.left -= 1


def test_an_end_at_any_file_operation_leaves_the_old_state_or_the_new_one(tmp_path):
    old, new, other = trained(1), trained(2), trained(3)
    before, after = Progress([entry(1)]), Progress([entry(1), entry(2, 0.5)])
    fuse = Fuse(tmp_path)
    outcomes = []
    for operations in range(100):
        directory = tmp_path / str(operations)
        checkpoint.save_best(directory, old, 1)
        for progress in (Progress(), Progress([], 9), before):
            save(directory, old, progress)

        def finish_an_epoch(directory: Path = directory) -> None:
            checkpoint.save_best(directory, new, 2)
            save(directory, new, after)

        cut = fuse.blows(operations, finish_an_epoch)
        outcomes.append(restore(directory, other))
        assert outcomes[-1] in (before, after), f"after {operations} operations"
        assert equal(other, old if outcomes[-1] == before else new)
        checkpoint.restore_best(directory, other, len(outcomes[-1].history))
        if not cut:
            break
    assert outcomes[0] == before
    assert outcomes[-1] == after
    assert outcomes.count(after) > 1  # an end while old states are dropped
