"""The first stages of a run: from data to a network and its scores."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from jobs.config import Job
from jobs.crew import Crew, lost_workers
from jobs.exits import ConfigError
from jobs.preparation import evaluate, load_data, load_model, train_network
from jobs.rundir import DATA, RunDir
from jobs.runs import record_copies
from pipeline import trained
from pipeline.dataset import Splits
from pipeline.inspection import inspect, refusal
from pipeline.whole import room_given_back
from trainer import network
from trainer.callbacks import Hooks, Interrupted
from trainer.evaluate import Evaluation, Predictions

log = logging.getLogger(__name__)


class DataRefused(Exception):
    """The data check found what must not be trained on; `data.json` in the run has it all."""


class DataChanged(ConfigError):
    """The data are no longer those that the run began with."""


@contextmanager
def stage(run: RunDir, hooks: Hooks, name: str) -> Iterator[None]:
    """Record a stage of a run, unless a hook asks to stop: then raise Interrupted."""
    if hooks.stop_requested():
        raise Interrupted
    with run.stage(name):
        yield


@dataclass(frozen=True)
class Stages:
    """Each stage may be asked for again after an interruption."""

    job: Job
    run: RunDir
    hooks: Hooks
    crew: Crew

    def prepare_data(self) -> Splits:
        """Load the data; what an earlier run prepared is only opened.

        Raises DataChanged when the run began with other data: its checkpoints know those.
        """
        with stage(self.run, self.hooks, "data"):
            data = load_data(self.job)
            record_copies(self.run)
            if self.run.digest is None:
                self.run.record_digest(data.info.digest)
        if self.run.digest != data.info.digest:
            raise DataChanged(
                f"{data.info.source} has changed since {self.run.path} began, so it cannot be "
                "continued. Start a new run from the job file"
            )
        log.info("data: %s, %s", data.info.source, data.info.counts)
        return data

    def check_data(self, data: Splits) -> None:
        """Hold the data against `data.check`. Raises DataRefused when an error rule breaks."""
        if self.run.is_done("check"):
            return
        with stage(self.run, self.hooks, "check"):
            previous = self.run.last_profile()
            inspection = inspect(data.source, self.job.data.check, previous)
            self.run.write_json(DATA, {**asdict(data.info), **inspection.check.to_json()})
            if inspection.pictures:
                keys, images = zip(*inspection.pictures, strict=True)
                buffer = io.BytesIO()
                np.savez(buffer, keys=keys, images=images)
                self.run.write_bytes("data.npz", buffer.getvalue())  # for the report
            if not inspection.check.ok:
                raise DataRefused(refusal(inspection.check))

    def train(self, data: Splits) -> keras.Model:
        """Give the trained network in float32, from disk when it is trained already."""
        if self.run.is_done("train"):
            return load_model(self.run)
        with stage(self.run, self.hooks, "train"):
            strategy = self.crew.begin(data.info.digest)
            with lost_workers():
                fitted, result = train_network(self.job, data, self.run.path, self.hooks, strategy)
            model = network.in_float32(fitted, self.job.model, data.info)
            _save(model, self.run / "model.keras")
            known = trained.record(data.source.slices["train"].contents())
            self.run.write_bytes(trained.FILE_NAME, known)
        epochs = len(result.history)
        log.info(
            "trained: best epoch %d of %d, %.0f examples/s",
            result.best_epoch,
            epochs,
            result.examples_per_second,
        )
        return model

    def evaluate(self, data: Splits, model: keras.Model) -> tuple[Predictions, Evaluation]:
        """Score the network on the test split."""
        with stage(self.run, self.hooks, "evaluate"):
            predictions, evaluation = evaluate(self.job, data, model)
            self.run.write_json("evaluation.json", evaluation.to_json())
        log.info("test: %s", ", ".join(f"{k} {v:.4f}" for k, v in evaluation.metrics().items()))
        return predictions, evaluation


def _save(model: keras.Model, path: Path) -> None:
    staged = path.with_name(f"partial-{path.name}")
    with room_given_back(staged):
        model.save(staged)
        staged.rename(path)
