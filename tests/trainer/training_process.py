"""A process that trains a small job in a directory, continues what it finds, and prints a digest.

    python training_process.py DIRECTORY DATA_DIR JOB

ends with 0 and the sha256 of all weights and of the history, or with 75 when it was told to stop.
"""

import hashlib
import json
import sys
from pathlib import Path

import keras

from jobs.exits import INTERRUPTED
from jobs.signals import stop_on_signal
from pipeline import DataConfig, load
from trainer import network, transfer
from trainer.callbacks import Hooks, Interrupted
from trainer.config import FineTuneConfig, ModelConfig, TrainConfig
from trainer.fit import FitResult
from trainer.phases import fit_phases

LENET = ModelConfig(name="lenet5", options={"activation": "relu", "batch_norm": True})
DROPOUT = ModelConfig(name="mnist_cnn", options={"filters": [4, 8], "units": 32, "first_kernel": 3})
TRAIN = {"epochs": 16, "batch_size": 32, "early_stopping_patience": None, "checkpoint_steps": 7}
PHASES = {"epochs": 8, "frozen": True, "fine_tune": FineTuneConfig(epochs=8, learning_rate=1e-3)}
GO_BACK = {"divergence": {"factor": 1e-3}}  # twice
WILD = TRAIN | GO_BACK | {"epochs": 6, "optimizer": "momentum", "learning_rate": 1e5}
JOBS = {
    "float32": (DROPOUT, TrainConfig(**TRAIN), "float32"),
    "bfloat16": (DROPOUT, TrainConfig(**TRAIN), "mixed_bfloat16"),
    "wild": (DROPOUT, TrainConfig.model_validate(WILD), "float32"),
    "phases": (LENET, TrainConfig(**TRAIN | PHASES), "float32"),
}
AUGMENT = {"rotation_range": 10, "width_shift_range": 0.1, "mixup": 0.2, "random_erasing": 0.3}


def train(directory: Path, data_dir: str, job: str, hooks: Hooks) -> tuple[keras.Model, FitResult]:
    model_config, train_config, policy = JOBS[job]
    config = {"source": "digits", "channels": 1, "image_size": [16, 16], "augment": AUGMENT}
    data = load(DataConfig.model_validate(config | {"data_dir": data_dir}), train_config.batch_size)
    keras.utils.set_random_seed(0)
    model = network.build(model_config, data.info, policy)
    if train_config.frozen:
        transfer.freeze(model)
    return model, fit_phases(model, data, train_config, directory, hooks, {})


def digest(model: keras.Model, result: FitResult) -> str:
    """Give a digest of every weight's bytes, and of the history without its times."""
    content = b"".join(variable.numpy().tobytes() for variable in model.variables)
    measured = [{k: v for k, v in entry.items() if k != "seconds"} for entry in result.history]
    return hashlib.sha256(content + json.dumps(measured).encode()).hexdigest()


if __name__ == "__main__":
    _, place, data, name = sys.argv
    with stop_on_signal() as stop:
        try:
            trained = train(Path(place), data, name, Hooks(stop_requested=stop.is_set))
        except Interrupted:
            sys.exit(INTERRUPTED)
    print(digest(*trained))
