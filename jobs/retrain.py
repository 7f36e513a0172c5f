"""The main job, from data to a published model and a report, in recorded stages."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from jobs.bless import Blessing, bless
from jobs.card import make_card
from jobs.config import Job
from jobs.preparation import load_data, load_model, train_network
from jobs.rundir import RunDir
from pipeline.dataset import Splits
from pipeline.inspection import explain, inspect
from serving.store import Store
from trainer import network, report
from trainer.callbacks import Hooks, Interrupted
from trainer.evaluate import Evaluation, Predictions, predict, score
from trainer.export import export
from trainer.history import read_history

log = logging.getLogger(__name__)


class DataRefused(Exception):
    """The data check found what must not be trained on; `data.json` in the run has it all."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: str  # "published", "not_blessed" or "trained"
    run: str
    version: int | None
    metrics: dict[str, float]
    blessed: bool
    seconds: dict[str, float]
    reasons: list[str] = field(default_factory=list)  # why it was not blessed

    def to_json(self) -> dict[str, Any]:
        """Give the outcome as plain JSON values."""
        return asdict(self)


def retrain(job: Job, run: RunDir, hooks: Hooks, train_only: bool = False) -> Outcome:
    """Take the run from where it stands to its end, each stage once.

    Raises ConfigError when the data or the model do not fit the job, DataRefused when the data
    must not be trained on, Interrupted when a hook asks to stop.
    """
    stages = Stages(job, run, hooks)
    data = stages.prepare_data()
    stages.check_data(data)
    model = stages.train(data)
    predictions, evaluation = stages.evaluate(data, model)
    blessing = stages.bless(evaluation)
    version, status = None, "trained" if train_only else "not_blessed"
    if blessing.blessed and not train_only:
        stages.export(data, model)
        version, status = stages.publish(), "published"
    stages.report(model, data, evaluation, predictions)
    return Outcome(
        status=status,
        run=str(run.path),
        version=version,
        metrics=evaluation.metrics(),
        blessed=blessing.blessed,
        seconds=run.seconds(),
        reasons=blessing.reasons(),
    )


@dataclass(frozen=True)
class Stages:
    """The stages of one run. Each may be asked for again after an interruption."""

    job: Job
    run: RunDir
    hooks: Hooks

    def prepare_data(self) -> Splits:
        """Load the data; what an earlier run prepared is only opened."""
        with self._stage("data"):
            data = load_data(self.job)
        log.info("data: %s, %s", data.info.source, data.info.counts)
        return data

    def check_data(self, data: Splits) -> None:
        """Hold the data against `data.check`. Raises DataRefused when an error rule breaks."""
        if self.run.is_done("check"):
            return
        with self._stage("check"):
            previous = self.run.last_profile()
            inspection = inspect(data.source, self.job.data.check, previous)
            self.run.write_json("data.json", {**asdict(data.info), **inspection.check.to_json()})
            if inspection.pictures:
                keys, images = zip(*inspection.pictures, strict=True)
                buffer = io.BytesIO()
                np.savez(buffer, keys=keys, images=images)
                self.run.write_bytes("data.npz", buffer.getvalue())  # for the report
            if broken := inspection.check.broken("error"):
                raise DataRefused("; ".join(map(explain, broken)))

    def train(self, data: Splits) -> keras.Model:
        """Give the trained network in float32, from disk when it is trained already."""
        if self.run.is_done("train"):
            return load_model(self.run)
        with self._stage("train"):
            trained, result = train_network(self.job, data, self.run.path, self.hooks)
            model = network.in_float32(trained, self.job.model, data.info)
            _save(model, self.run / "model.keras")
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
        with self._stage("evaluate"):
            predictions = predict(model, data.test)
            evaluation = score(predictions, data.info.class_names, self.job.train.top_k)
            self.run.write_json("evaluation.json", asdict(evaluation))
        log.info("test: %s", ", ".join(f"{k} {v:.4f}" for k, v in evaluation.metrics().items()))
        return predictions, evaluation

    def bless(self, evaluation: Evaluation) -> Blessing:
        """Hold the scores against the job's floors."""
        with self._stage("bless"):
            blessing = bless(evaluation, self.job.bless)
            self.run.write_json("blessing.json", blessing.to_json())
        return blessing

    def export(self, data: Splits, model: keras.Model) -> None:
        """Write the SavedModel, whole or not at all."""
        if self.run.is_done("export"):
            return
        with self._stage("export"):
            card = make_card(self.job, self.run, data.info)
            self.run.write_json("card.json", card)
            staged = export(model, data.info, data.prepare, self.run / "partial-export", card)
            staged.rename(self.run / "export")

    def publish(self) -> int:
        """Put the SavedModel into the store, unless this run did so before it was interrupted."""
        name, publish = self.job.name, self.job.publish
        store = Store(publish.store, keep=publish.keep)
        with self._stage("publish"):
            version = _published_by(store, name, self.run.path.name)
            if version is None:
                version = store.publish(name, self.run / "export")
        log.info("published: %s version %d in %s", name, version, publish.store)
        return version

    def report(
        self, model: keras.Model, data: Splits, evaluation: Evaluation, predictions: Predictions
    ) -> None:
        """Write the page about the run."""
        summary = report.RunSummary(
            name=self.job.name,
            info=data.info,
            evaluation=evaluation,
            predictions=predictions,
            rules=self.run.read_json("data.json")["rules"],
            offenders=self._offenders(),
        )
        with self._stage("report"):
            history = read_history(self.run / "history.csv")
            self.run.write("report.html", report.render(summary, history, model, data))

    def _offenders(self) -> list[tuple[str, np.ndarray]]:
        path = self.run / "data.npz"
        if not path.exists():
            return []
        with np.load(path) as archive:
            return list(zip(archive["keys"].tolist(), archive["images"], strict=True))

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        if self.hooks.stop_requested():
            raise Interrupted
        with self.run.stage(name):
            yield


def _save(model: keras.Model, path: Path) -> None:
    staged = path.with_name(f"partial-{path.name}")
    model.save(staged)
    staged.rename(path)


def _published_by(store: Store, name: str, run_id: str) -> int | None:
    """Give the version whose card names this run: one run never publishes twice."""
    for version in reversed(store.versions(name)):
        card = json.loads((store.path(name, version) / "assets.extra" / "card.json").read_text())
        if card.get("run") == run_id:
            return version
    return None
