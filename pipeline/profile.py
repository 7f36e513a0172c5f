"""The distributions of a data set that should not move unnoticed from one run to the next."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.inventory import Inventory

BRIGHTNESS_BINS = 10
FLOOR = 1e-4  # an empty bin: its logarithm must stay finite


@dataclass(frozen=True)
class Profile:
    """Shares that sum to 1."""

    classes: dict[str, float]  # by class name, of the training split
    brightness: list[float]  # of images by mean pixel, in ten equal bins of 0..255; vectors: empty

    def to_json(self) -> dict[str, Any]:
        """Give the profile as plain JSON values."""
        return asdict(self)


def take_profile(inventory: Inventory, class_names: tuple[str, ...]) -> Profile:
    """Give the profile of the training split."""
    train = inventory.where(inventory.split == "train")
    counts = np.bincount(train.label, minlength=len(class_names))
    shares = dict(zip(class_names, (counts / counts.sum()).tolist(), strict=True))
    if not train.has_images:
        return Profile(shares, [])
    bins, _ = np.histogram(train.brightness, BRIGHTNESS_BINS, (0, 255))
    return Profile(shares, (bins / bins.sum()).tolist())


def class_shift(old: Profile, new: Profile) -> float:
    """Give the stability index of class shares; a class that came or went counts as a shift."""
    names = sorted(old.classes.keys() | new.classes.keys())
    return stability_index(
        [old.classes.get(name, 0.0) for name in names],
        [new.classes.get(name, 0.0) for name in names],
    )


def stability_index(old: list[float], new: list[float]) -> float:
    """Give the population stability index: sum of (p - q) ln(p / q), 0 for equal shares.

    Below 0.1 is taken for stable and above 0.25 for a large shift (Siddiqi 2006, "Credit Risk
    Scorecards").
    """
    p, q = np.maximum(old, FLOOR), np.maximum(new, FLOOR)
    return float(np.sum((p - q) * np.log(p / q)))
