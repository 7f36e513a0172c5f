"""Trains in a process of its own, whose devices are chosen before TensorFlow starts.

`python replicas.py PLACE DATA KIND PART...` with KIND `mirrored` (two virtual CPUs) or
`INDEX:PORT,PORT` (one of two workers). Each part leaves `PLACE/PART.npz` or `PLACE/PART.json`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline import DataConfig, load
from pipeline.dataset import Splits
from trainer import distribute
from trainer.callbacks import Hooks
from trainer.cluster import Cluster
from trainer.config import ModelConfig, TrainConfig
from trainer.objective import compile_model
from trainer.peers import Peers, peers_of
from trainer.recipe import Recipe

MLP = ModelConfig(name="mlp", options={"units": []})
LENET = ModelConfig(
    name="lenet5",
    # Smooth: a rectifier may cut off by rounding on one side alone.
    options={"activation": "tanh", "batch_norm": True, "classifier": []},
)
TRAIN = {
    "epochs": 1,
    "batch_size": 16,
    "optimizer": "momentum",
    "learning_rate": 0.02,
    "early_stopping_patience": None,
}
PARTS: dict[str, tuple[ModelConfig, dict[str, Any]]] = {
    "clipped": (MLP, {"epochs": 2, "learning_rate": 0.2, "global_clipnorm": 0.3}),
    "batch_norm": (LENET, {"batch_size": 100, "learning_rate": 1e-3}),
    "averaged": (MLP, {"optimizer": "adam", "learning_rate": 1e-2, "ema_momentum": 0.9}),
    "accumulated": (MLP, {"accumulation_steps": 3}),
    "compiled": (MLP, {"jit": "on"}),
}


def choose(kind: str) -> Any:
    if kind == "mirrored":
        [cpu] = tf.config.list_physical_devices("CPU")
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
        return distribute.mirrored(["CPU:0", "CPU:1"])
    index, _, ports = kind.partition(":")
    workers = tuple(f"127.0.0.1:{port}" for port in ports.split(","))
    return distribute.choose(Cluster(workers, int(index)))[0]


def examples(model: str, data_dir: str, batch_size: int) -> Splits:
    """An odd number of examples for validation: two batches, of which the second is odd."""
    place = {"data_dir": data_dir}
    if model == "mlp":
        return load(DataConfig(source="iris", validation_fraction=0.22, **place), batch_size)
    config = {"source": "digits", "image_size": [16, 16], "channels": 1, **place}
    config["validation_fraction"] = 0.1
    return load(DataConfig.model_validate(config), batch_size)


def train(part: str, place: Path, data_dir: str, strategy: Any) -> None:
    model_config, changes = PARTS[part]
    config = TrainConfig.model_validate(TRAIN | changes)
    data = examples(model_config.name, data_dir, config.batch_size)
    recipe = Recipe(model_config, config, strategy)
    model = recipe.start(data.info, "float32")
    try:
        result = recipe.fit(model, data, place / part, Hooks())
    except ValueError as problem:
        write(place / f"{part}.json", {"error": str(problem)})
        return
    np.savez(place / f"{part}.npz", *[variable.numpy() for variable in model.variables])
    write(place / f"{part}.json", result.history)


def overflow(place: Path, data_dir: str, strategy: Any) -> None:
    """One step in mixed_float16 in which the second replica's share of the loss is infinite."""
    info = examples("mlp", data_dir, 16).info
    model = Recipe(MLP, TrainConfig(), strategy).start(info, "mixed_float16")
    compile_model(model, TrainConfig())
    scale, before = float(model.optimizer.dynamic_scale.numpy()), weights(model)
    inputs = np.zeros((4, *info.shape), np.float32)
    inputs[2:] = np.inf
    batches = tf.data.Dataset.from_tensors((inputs, np.zeros(4, np.int64))).repeat()
    model.fit(distribute.shared_out(batches), steps_per_epoch=1, verbose=0)
    same = all(map(np.array_equal, before, weights(model)))
    halved = float(model.optimizer.dynamic_scale.numpy()) == scale / 2
    write(place / "overflow.json", {"same": same, "halved": halved})


def weights(model: keras.Model) -> list[np.ndarray]:
    return [variable.numpy() for variable in model.trainable_variables]


def talk(place: Path, strategy: Any) -> None:
    """What each of two workers hears; only the second is asked to stop."""
    index = strategy.cluster_resolver.task_id
    peers = peers_of(strategy, lambda: index == 1)
    assert isinstance(peers, Peers)
    stopping = [peers.stop_requested()]
    due = [peers.agree(index == 0), peers.agree(index == 1)]
    stopping.append(peers.stop_requested())
    own = {
        "text": np.array("Grüße" if index == 0 else ""),
        "numbers": np.full((2, 3), index + 0.1, np.float32),
        "large": np.array([2**32 - 1 - index], np.uint32),
    }
    heard = peers.share(own if index == 0 else {})
    told = {name: [array.dtype.name, array.tolist()] for name, array in heard.items()}
    message = peers.tell(b"hello" if index == 0 else b"not heard").decode()
    silence = peers.tell().decode()
    facts = {"silence": silence, "due": due, "stopping": stopping, "told": told, "message": message}
    write(place / "talk.json", facts)


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def main(place: Path, data_dir: str, kind: str, parts: list[str]) -> None:
    strategy = choose(kind)
    for part in parts:
        if part == "overflow":
            overflow(place, data_dir, strategy)
        elif part == "talk":
            talk(place, strategy)
        else:
            train(part, place, data_dir, strategy)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
