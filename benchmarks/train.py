"""How fast networks train: ours against the course's own code, and bfloat16 against float32.

    python benchmarks/train.py [--seconds 4] [--rounds 3] [--networks mnist_cnn lenet5 ...]

Random images of a network's own size in batches of 128, Adam, on this machine's processor:
  course   plain `fit` on NumPy arrays of floats, float32, with oneDNN's kernels, as ours
  float32  ours: batches of pipeline.load through the compiled step of trainer.loop
  bfloat16 the same in bfloat16 (with float32 weights)
`auto` is whichever of the last two `precision = "auto"` chooses for the network on this machine.
The rivals take turns in alternating order; a claim is the median over rounds of the ratio within a
round. `peak` is what products of two 2048 x 2048 matrices do in a second of processor time in the
same rounds, in float32 and in bfloat16; a network's share of it counts three multiply-adds for each
of its own, as the gradients of weights and of inputs take as many. Whatever else runs on the
machine slows all of them: the processor time of an image, beside the rate, tells what a quiet
machine would show.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))  # run from a checkout, installed or not

import keras
import numpy as np
import tensorflow as tf
from measuring import claims  # beside this file
from measuring.claims import at_least
from measuring.turns import Rounds, Turn, ratio, take_turns, timed

from pipeline import DataConfig, Splits, load
from trainer import flops, network, zoo
from trainer.config import ModelConfig, TrainConfig
from trainer.loop import build_metrics
from trainer.objective import compile_model
from trainer.pace import Pace
from trainer.recipe import Recipe
from trainer.step import training_steps

BATCH, STEPS, CLASSES = 128, 100, 10
IMAGES = BATCH * STEPS  # of an epoch, as long as those of real data: `fit` has work at each end
SHAPES = {
    "mnist_cnn": (28, 28, 1),
    "lenet5": (32, 32, 1),
    "resnet18": (32, 32, 3),
    "vgg11": (32, 32, 3),
}
SIDE = 2048  # of the matrices whose product is the peak


Rival = Callable[[int], int]  # does so many steps and tells how many images these are


def main() -> None:
    options = arguments()
    found, chosen = {}, {}
    with tempfile.TemporaryDirectory() as place:
        for name in options.networks:
            rivals, chosen[name] = rivals_of(name, Path(place) / name)
            found[name] = take_turns(turns_of(rivals, options.seconds), options.rounds)
            print_table(name, found[name])
    report(found, chosen)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=4, help="of a turn, at about")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--networks", nargs="+", choices=SHAPES, default=list(SHAPES))
    return parser.parse_args()


def rivals_of(name: str, place: Path) -> tuple[dict[str, Rival], str]:
    """Give the rivals for a network, and which of them `auto` has chosen."""
    place.mkdir()
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (IMAGES, *SHAPES[name]), dtype=np.uint8)
    labels = np.arange(IMAGES) % CLASSES
    np.savez(place / "images.npz", x_train=images, y_train=labels)
    data = prepared(name, place)
    recipe = Recipe(ModelConfig(name=name), TrainConfig(batch_size=BATCH))
    policy, reason = recipe.choose_precision(data.info)
    rivals = {
        "course": course(name, images.astype(np.float32) / 255, labels),
        "float32": ours(recipe, data, "float32"),
        "bfloat16": ours(recipe, data, "mixed_bfloat16"),
        "peak float32": product(tf.float32),
        "peak bfloat16": product(tf.bfloat16),
    }
    print(f"{name}: auto is {policy} ({reason})")
    return rivals, policy.removeprefix("mixed_")


def prepared(name: str, place: Path) -> Splits:
    config = DataConfig(
        source=f"npz:{place / 'images.npz'}",
        data_dir=str(place / "data"),
        channels=SHAPES[name][2],
        validation_fraction=0.05,
        test_fraction=0.05,
    )
    return load(config, BATCH, zoo.MODELS[name].scaling)


def course(name: str, images: np.ndarray, labels: np.ndarray) -> Rival:
    """Train as a notebook does: arrays in, `compile` and `fit`."""
    height, width, channels = SHAPES[name]
    ours = zoo.build(name, image_size=(height, width), channels=channels, num_classes=CLASSES)
    model = keras.models.clone_model(ours, clone_function=of_keras)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

    def run(steps: int) -> int:
        epochs, size = max(1, steps // STEPS), min(steps * BATCH, IMAGES)
        model.fit(images[:size], labels[:size], batch_size=BATCH, epochs=epochs, verbose=0)
        return epochs * size

    return run


def of_keras(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Give the layer that a notebook has: Keras' own dropout, not ours, which is faster."""
    if isinstance(layer, keras.layers.Dropout):
        return keras.layers.Dropout(layer.rate, name=layer.name)
    return type(layer).from_config(layer.get_config())


def ours(recipe: Recipe, data: Splits, policy: str) -> Rival:
    """Train by the compiled step that `trainer.loop` takes, on the pipeline's batches."""
    model = network.build(recipe.model, data.info, policy)
    compile_model(model, recipe.train, steps_per_epoch=data.steps_per_epoch)
    build_metrics(model, data.validation)
    batches, pace = iter(data.train_epochs(0)), Pace()
    train = training_steps(model, batches)

    def run(steps: int) -> int:
        done = 0
        while done < steps:
            began, count = time.perf_counter(), pace.steps(steps - done)
            train(batches, count)
            pace.took(count, time.perf_counter() - began)
            done += count
        float(model.get_metrics_result()["loss"])  # waits for the last step
        return steps * BATCH

    return run


def product(kind: tf.DType) -> Rival:
    """Multiply two matrices of SIDE rows and columns; an "image" is a multiply-add here."""
    matrices = [tf.cast(tf.random.normal((SIDE, SIDE)), kind) for _ in range(2)]

    def run(steps: int) -> int:
        for _ in range(steps):
            result = tf.matmul(*matrices)
        float(result[0, 0])
        return steps * SIDE**3

    return run


def turns_of(rivals: dict[str, Rival], seconds: float) -> dict[str, Callable[[], Turn]]:
    """Warm each rival up, and give it as many steps as take so long."""
    turns = {}
    for name, rival in rivals.items():
        rival(2)
        started = time.perf_counter()
        rival(2)
        steps = max(2, round(2 * seconds / (time.perf_counter() - started)))
        turns[name] = partial(timed, partial(rival, steps))
    return turns


def report(found: dict[str, Rounds], chosen: dict[str, str]) -> None:
    told = []
    for name, rounds in found.items():
        auto = chosen[name]
        if name == "mnist_cnn" and auto == "bfloat16":
            told.append(at_least("mnist_cnn: auto / course", ratio(rounds, auto, "course"), 1.9))
        told.append(at_least(f"{name}: auto / float32", ratio(rounds, auto, "float32"), 0.95))
    claims.report(told)


def print_table(name: str, rounds: Rounds) -> None:
    """Print rates, processor time, and the share of the peak in the rival's own precision."""
    height, width, channels = SHAPES[name]
    size = {"image_size": (height, width), "channels": channels, "num_classes": CLASSES}
    work = 3 * flops.estimate(lambda: zoo.build(name, **size)).multiply_adds
    print(f"{name}, {height}x{width}: images/s, median of {len(rounds)} rounds, CPU per image")
    for rival in ("course", "float32", "bfloat16"):
        peak = "peak bfloat16" if rival == "bfloat16" else "peak float32"
        share = statistics.median(
            work * turn[peak].milliseconds / turn[rival].milliseconds for turn in rounds
        )
        rate = statistics.median(turn[rival].rate for turn in rounds)
        busy = statistics.median(turn[rival].milliseconds for turn in rounds)
        times = ratio(rounds, rival, "course")
        print(
            f"  {rival:8} {rate:9,.0f} {busy:8.3f} ms {times:5.2f}x course {share:5.0%} of {peak}"
        )
    for peak in ("peak float32", "peak bfloat16"):
        giga = 1e-6 / statistics.median(turn[peak].milliseconds for turn in rounds)
        print(f"  {peak:14} {giga:6,.0f} G multiply-adds in a second of processor time")


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    main()
