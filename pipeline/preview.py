"""A look at the data: examples as they are, and training images beside what is trained on."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from pipeline.dataset import Splits
from pipeline.training import Samples

MARGIN = 4  # pixels between images
SMALLEST_SIDE = 96  # pixels: images of digits are enlarged, or nothing could be seen of them
WHITE = 255


def draw(data: Splits, count: int = 8) -> tuple[Image.Image, Samples]:
    """Draw pairs, a row each of two columns per pair: originals left, augmented right.

    Raises ValueError for vectors, which cannot be seen.
    """
    if not data.info.is_image:
        raise ValueError(f"no preview of {data.info.source}: its examples are vectors, not images")
    samples = data.sample(count)
    height, width, _ = data.info.shape
    scale = max(1, -(-SMALLEST_SIDE // min(height, width)))
    cell = (width * scale, height * scale)
    pairs = [
        [_cell(original, cell), _cell(augmented, cell)]
        for original, augmented in zip(samples.originals, samples.augmented, strict=True)
    ]
    return _sheet(pairs, cell), samples


def save_augmented(samples: Samples, directory: Path) -> None:
    """Write every augmented image as a PNG file of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(samples.augmented):
        _image(pixels).save(directory / f"augmented-{number:03}.png")


def originals(data: Splits, split: str, rows: np.ndarray) -> list[np.ndarray]:
    """Give images of a split, uint8 [H, W, C] at the network's size, by their places in its order.

    They are read from the source: what a network takes is scaled, and no longer looks like them.
    """
    wanted = tf.constant(rows, tf.int64)
    chosen = data.source.slices[split].read().enumerate()
    chosen = chosen.filter(lambda row, example: tf.reduce_any(row == wanted))
    decoded = chosen.map(lambda row, example: (row, data.prepare.decode(example["image"])))
    found = dict(decoded.as_numpy_iterator())
    return [found[row] for row in rows]


def _sheet(pairs: list[list[Image.Image]], cell: tuple[int, int]) -> Image.Image:
    """Lay the pairs out in two columns of pairs."""
    width, height = cell[0] + MARGIN, cell[1] + MARGIN
    rows = -(-len(pairs) // 2)
    across = min(len(pairs), 2)
    gap = 3 * MARGIN  # between the columns of pairs
    size = (across * (2 * width + gap) - gap + MARGIN, rows * height + MARGIN)
    sheet = Image.new("RGB", size, (WHITE, WHITE, WHITE))
    for number, pair in enumerate(pairs):
        left = MARGIN + number % 2 * (2 * width + gap)
        for place, image in enumerate(pair):
            sheet.paste(image, (left + place * width, MARGIN + number // 2 * height))
    return sheet


def _cell(pixels: np.ndarray, size: tuple[int, int]) -> Image.Image:
    return _image(pixels).resize(size, Image.Resampling.NEAREST)


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
