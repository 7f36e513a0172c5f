"""A directory of labelled images that grows, breaks and loses its order, as people's do."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

TEST = 270  # images that are never trained on, the same ones all year


@dataclass
class Inbox:
    """The directory that the year's images arrive in."""

    root: Path
    arrived: int = 0

    def __post_init__(self) -> None:
        digits = load_digits()
        order = np.random.default_rng(8).permutation(len(digits.target))
        self.images = (digits.images[order] * 15.9).astype(np.uint8)
        self.labels = digits.target[order]
        for row in range(TEST):
            self._write("test", row, self.labels[row])

    def grow(self, count: int) -> None:
        for row in range(self.arrived, self.arrived + count):
            self._write("train", TEST + row, self.labels[TEST + row])
        self.arrived += count

    def break_files(self) -> None:
        """A camera writes files that are no images."""
        for number in range(30):
            (self.root / "train" / "3" / f"broken-{number}.png").write_bytes(b"\x89PNG nothing")

    def shuffle(self) -> None:
        """Somebody sorts the images into the wrong directories."""
        shutil.rmtree(self.root / "train")
        wrong = np.random.default_rng(9).integers(0, 10, self.arrived)
        for row in range(self.arrived):
            self._write("train", TEST + row, int(wrong[row]))

    def repair(self) -> None:
        shutil.rmtree(self.root / "train")
        count, self.arrived = self.arrived, 0
        self.grow(count)

    def test_files(self) -> tuple[list[Path], list[str]]:
        paths = sorted(self.root.glob("test/*/*.png"))
        return paths, [path.parent.name for path in paths]

    def _write(self, split: str, row: int, label: int) -> None:
        path = self.root / split / str(label) / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.images[row]).save(path)
