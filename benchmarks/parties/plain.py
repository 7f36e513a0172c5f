"""Plain Keras Tuner: RandomSearch over a job's seed, all trials in this one process.

    python benchmarks/parties/plain.py JOB.toml DIRECTORY

Network, data, loss, optimizer and precision are the job's own; search, fit and files are Keras
Tuner's. The last line is JSON: seconds of the search, and of every trial's epochs.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from jobs import console


class Network:
    """A hypermodel: builds and fits the job's network with another seed."""

    def __init__(self, job: Any, data: Any) -> None:
        self.job, self.data = job, data
        self.training: list[float] = []  # seconds of fit, by trial

    def build(self, hp: Any) -> Any:
        import keras

        from trainer import network
        from trainer.objective import compile_model
        from trainer.recipe import Recipe

        keras.utils.set_random_seed(hp.Int("seed", 0, 1000))
        policy, _ = Recipe(self.job.model, self.job.train).choose_precision(self.data.info)
        model = network.start(self.job.model, self.data.info, policy)
        compile_model(model, self.job.train, steps_per_epoch=self.data.steps_per_epoch)
        return model

    def fit(self, hp: Any, model: Any, *args: Any, **settings: Any) -> Any:
        started = time.perf_counter()
        result = model.fit(*args, **settings)
        self.training.append(time.perf_counter() - started)
        return result


def main() -> None:
    job_file, directory = sys.argv[1:]
    console.load_tensorflow()
    import keras_tuner

    from jobs.config import load
    from jobs.preparation import load_data

    job = load(Path(job_file))
    started = time.perf_counter()
    data = load_data(job)
    made = Network(job, data)
    hypermodel = type("Plain", (keras_tuner.HyperModel,), {"build": made.build, "fit": made.fit})
    tuner = keras_tuner.RandomSearch(
        hypermodel(), "val_accuracy", job.tune.max_trials, directory=directory, seed=1
    )
    tuner.search(data.train, validation_data=data.validation, epochs=job.train.epochs, verbose=0)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "training": made.training}))


if __name__ == "__main__":
    main()
