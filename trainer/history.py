"""What training has measured, epoch by epoch: on disk, and what follows from it."""

import csv
import io
from pathlib import Path

from pipeline.whole import write_whole

History = list[dict[str, float]]  # one entry per finished epoch, each with the same keys
UPDATES = "updates"  # times that the weights changed in an epoch
MONITOR = "val_loss"  # smoother than accuracy on small validation sets, and never tied


def best_epoch(history: History) -> int:
    """Give the number of the first epoch with the lowest validation loss.

    Epochs that changed no weight do not count; 0 without another.
    """
    changed = [i for i, entry in enumerate(history) if entry.get(UPDATES, 1)]
    return 1 + min(changed, key=lambda i: history[i][MONITOR], default=-1)


def updates_before(history: History) -> int:
    """Give how often the weights changed in these epochs."""
    return int(sum(entry.get(UPDATES, 0) for entry in history))


def is_first_without_updates(history: History) -> bool:
    """Tell whether the last epoch changed no weight, and all before it did."""
    counts = [entry.get(UPDATES, 1) for entry in history]
    return 0 not in counts[:-1] and counts[-1:] == [0]


def has_converged(history: History, patience: int | None) -> bool:
    """Tell whether `patience` epochs have passed since the best one."""
    return patience is not None and len(history) - best_epoch(history) >= patience


def rollbacks(history: History) -> dict[int, int]:
    """Give how often training went back to the start of an epoch, for each where it did."""
    counts = {int(entry["epoch"]): int(entry.get("rollbacks", 0)) for entry in history}
    return {epoch: count for epoch, count in counts.items() if count}


def write_history(path: Path, history: History) -> None:
    """Write one CSV line per epoch, all of them or, when interrupted, none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(history[0]))
    writer.writeheader()
    writer.writerows(history)
    write_whole(path, text.getvalue().encode())


def read_history(path: Path) -> History:
    """Read what `write_history` wrote."""
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
