"""How fast images reach the trainer: ours against ImageDataGenerator and Keras' own layers.

    python benchmarks/ingest.py [--images 1920] [--rounds 3]

Photographs (JPEG files of 500x375, made here, to 224x224; rotation by 20 degrees, shifts by a
fifth, flips) in batches of 32:
  generator  ImageDataGenerator.flow_from_directory, one pass over all files
  layers     keras.layers in tf.data, on batches, with parallel decoding; one pass
  first      pipeline.load, first epoch: every file is read and decoded, the set-up is counted too
  later      pipeline.load, later epochs: decoded images come from memory
  three      pipeline.load, the first three epochs of a training
  limit      reading, decoding and resizing alone, one pass
The claims are about `first`, where every rival decodes every file: 5.9x and 6.0x
ImageDataGenerator, 2.5x and 2.6x the Keras layers in two runs on a quiet machine of two cores, at
55% of the limit. With a few hundred images the set-up, about a second, weighs more; on a busy
machine the generator, which uses one thread, gains on all others (4.6x). `three` and `later` profit
from decoding once; they are shown beside it and are no claim.
All resize to the nearest pixel, as ImageDataGenerator does. Digits (arrays of 28x28) go through
ImageDataGenerator.flow and ours. The rivals take turns; a claim is the median over rounds of the
ratio within a round. Whatever else runs on the machine slows those most that use all cores: the
processor time of an image, beside the rate, tells what a quiet machine would show.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import sys

sys.path.insert(0, str(Path(__file__).parents[1]))  # run from a checkout, installed or not

import keras
import numpy as np
import tensorflow as tf
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from measuring import claims  # beside this file
from measuring.claims import at_least
from measuring.turns import Rounds, Turn, ratio, take_turns, timed
from PIL import Image

from pipeline import DataConfig, Splits, load, preprocess
from pipeline.augment_config import AugmentConfig

BATCH, SIZE = 32, (224, 224)
DIGITS_BATCH, DIGITS = 128, 6_400
AUGMENT = {
    "rotation_range": 20,
    "width_shift_range": 0.2,
    "height_shift_range": 0.2,
    "horizontal_flip": True,
}
FRACTIONS = {"validation_fraction": 0.01, "test_fraction": 0.01}
EPOCHS = 3


Rival = Callable[[], Turn]


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as place:
        photographs = photograph_rivals(Path(place), options.images)
        found = take_turns(warm(photographs), options.rounds)
        digits = take_turns(warm(digit_rivals(Path(place))), options.rounds)
    report(found, digits)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=1920, help="photographs in a turn")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def warm(rivals: dict[str, Rival]) -> dict[str, Rival]:
    """Run every rival once."""
    for rival in rivals.values():
        rival()
    return rivals


def photograph_rivals(place: Path, count: int) -> dict[str, Rival]:
    folder = place / "photographs"
    write_photographs(folder, count)
    generator = ImageDataGenerator(**AUGMENT).flow_from_directory(folder, SIZE, batch_size=BATCH)
    files = [str(path) for path in sorted(folder.rglob("*.jpg"))]
    data = photographs_of(folder, place / "data")
    batches = count // BATCH

    def epochs(count: int) -> Turn:
        fresh = photographs_of(folder, place / "data")
        return measure(fresh.train_epochs(0), count * data.steps_per_epoch)

    return {
        "generator": lambda: measure(generator, batches),
        "layers": lambda: measure(layers_in_tf_data(files), batches),
        "first": lambda: epochs(1),
        "later": lambda: measure(data.train_epochs(1), EPOCHS * data.steps_per_epoch),
        "three": lambda: epochs(EPOCHS),
        "limit": lambda: measure(decoded(files), batches),
    }


def photographs_of(folder: Path, data_dir: Path) -> Splits:
    config = DataConfig(
        source=f"folder:{folder}",
        data_dir=str(data_dir),
        image_size=SIZE,
        resize="nearest",
        augment=AugmentConfig.model_validate(AUGMENT),
        **FRACTIONS,
    )
    return load(config, BATCH)


def decoded(files: list[str]) -> tf.data.Dataset:
    def decode(path: tf.Tensor) -> tf.Tensor:
        pixels = tf.io.decode_jpeg(tf.io.read_file(path), 3)
        return preprocess.resize(pixels, SIZE, "nearest")

    paths = tf.data.Dataset.from_tensor_slices(files)
    return paths.map(decode, tf.data.AUTOTUNE).batch(BATCH, drop_remainder=True)


def layers_in_tf_data(files: list[str]) -> tf.data.Dataset:
    augment = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(20 / 360, fill_mode="nearest"),
            keras.layers.RandomTranslation(0.2, 0.2, fill_mode="nearest"),
        ]
    )
    batches = decoded(files).map(lambda images: augment(images, training=True), tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE)


def digit_rivals(place: Path) -> dict[str, Rival]:
    images = np.random.default_rng(0).integers(0, 256, (DIGITS, 28, 28, 1), dtype=np.uint8)
    labels = np.arange(DIGITS) % 10
    np.savez(place / "digits.npz", x_train=images, y_train=labels)
    generator = ImageDataGenerator(**AUGMENT).flow(images, labels, batch_size=DIGITS_BATCH)
    config = DataConfig(
        source=f"npz:{place / 'digits.npz'}",
        data_dir=str(place / "data"),
        channels=1,
        augment=AugmentConfig.model_validate(AUGMENT),
        **FRACTIONS,
    )
    data = load(config, DIGITS_BATCH)
    return {
        "generator": lambda: measure(generator, DIGITS // DIGITS_BATCH),
        "ours": lambda: measure(data.train_epochs(1), 20 * data.steps_per_epoch),
    }


def write_photographs(folder: Path, count: int) -> None:
    """Write JPEG files of about 55 KB: smooth colours with some grain, as photographs have."""
    random = np.random.default_rng(0)
    for number in range(count):
        colors = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(colors).resize((500, 375), Image.Resampling.BICUBIC))
        grainy = smooth + random.integers(-12, 13, smooth.shape)
        path = folder / f"class{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grainy.clip(0, 255).astype(np.uint8)).save(path, quality=87)


def measure(batches: Iterable[Any], count: int) -> Turn:
    """Take `count` batches; making the iterator, which fills nothing yet, is left out."""
    iterator = iter(batches)

    def take() -> int:
        images = 0
        for _ in range(count):
            batch = next(iterator)
            images += len(batch[0] if isinstance(batch, tuple) else batch)
        return images

    return timed(take)


def report(photographs: Rounds, digits: Rounds) -> None:
    print_table("photographs, 500x375 to 224x224", photographs)
    print_table("digits, 28x28", digits)
    for rival in ("first", "three", "later"):
        generator, layers, limit = (
            ratio(photographs, rival, other) for other in ("generator", "layers", "limit")
        )
        print(f"{rival}: {generator:.1f}x generator, {layers:.1f}x layers, {limit:.0%} of limit")
    generator, layers = (ratio(photographs, "first", rival) for rival in ("generator", "layers"))
    claims.report(
        [
            at_least("photographs: first / ImageDataGenerator", generator, 5),
            at_least("photographs: first / Keras layers", layers, 2.5),
            at_least("digits: ours / ImageDataGenerator", ratio(digits, "ours", "generator"), 10),
        ]
    )


def print_table(title: str, rounds: Rounds) -> None:
    print(f"{title}: images/s, median of {len(rounds)} rounds (lowest to highest), CPU per image")
    for name in rounds[0]:
        rates = sorted(turn[name].rate for turn in rounds)
        spread = f"({rates[0]:,.0f} to {rates[-1]:,.0f})"
        busy = statistics.median(turn[name].milliseconds for turn in rounds)
        print(f"  {name:10} {statistics.median(rates):9,.0f} {spread:20} {busy:7.3f} ms")


if __name__ == "__main__":
    main()
