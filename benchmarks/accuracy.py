"""What bfloat16 costs in accuracy: Fashion-MNIST in float32 and in the precision that auto chooses.

    python benchmarks/accuracy.py [--seeds 3] [--epochs 12] [--place DIRECTORY]

Trains `configs/fashion_mnist.toml` (mnist_cnn) with each precision on each seed, and scores the
official 10,000 test images. The means may differ by 0.3 points, and both must reach 0.915. An
interrupted benchmark continues where it stood when `--place` names its directory again.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))  # run from a checkout, installed or not

from measuring import claims  # beside this file
from measuring.claims import at_least, at_most

from jobs.config import Job, load
from jobs.preparation import evaluate, load_data, train_network
from pipeline.whole import write_whole
from trainer import network
from trainer.callbacks import Hooks

JOB = Path(__file__).parents[1] / "configs/fashion_mnist.toml"
LARGEST_GAP, LEAST = 0.003, 0.915


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as fallback:
        place = options.place or Path(fallback)
        found: dict[str, list[float]] = {"float32": [], "auto": []}
        for seed in range(options.seeds):
            for precision, accuracies in found.items():
                job = job_of(precision, seed, options.epochs, place)
                told = outcome(job, place / f"{precision}-{seed}")
                accuracies.append(told["accuracy"])
                print(f"seed {seed} {precision:8} {told['accuracy']:.4f} {told['seconds']:7.0f} s")
    report(found)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--place", type=Path, help="keep states and results here")
    return parser.parse_args()


def job_of(precision: str, seed: int, epochs: int, place: Path) -> Job:
    settings = {
        "train.precision": f'"{precision}"',
        "train.seed": seed,
        "data.seed": seed,
        "train.epochs": epochs,
        "data.data_dir": f'"{place / "data"}"',
    }
    return load(JOB, [f"{k}={v}" for k, v in settings.items()])


def outcome(job: Job, directory: Path) -> dict[str, Any]:
    """Give the test accuracy and the seconds of a training, which may have been done before."""
    path = directory / "outcome.json"
    if path.is_file():
        return dict(json.loads(path.read_text()))
    started = time.perf_counter()
    data = load_data(job)
    trained, _ = train_network(job, data, directory, Hooks())
    seconds = time.perf_counter() - started
    _, evaluation = evaluate(job, data, network.in_float32(trained, job.model, data.info))
    told = {"accuracy": evaluation.accuracy, "seconds": seconds}
    write_whole(path, json.dumps(told).encode())
    return told


def report(found: dict[str, list[float]]) -> None:
    means = {name: statistics.mean(accuracies) for name, accuracies in found.items()}
    for name, accuracies in found.items():
        print(f"{name:8} mean {means[name]:.4f}, {min(accuracies):.4f} to {max(accuracies):.4f}")
    gap = abs(means["auto"] - means["float32"])
    told = [at_most("auto against float32: gap", gap, LARGEST_GAP)]
    told += [at_least(f"{name}: accuracy", mean, LEAST) for name, mean in means.items()]
    claims.report(told)


if __name__ == "__main__":
    main()
