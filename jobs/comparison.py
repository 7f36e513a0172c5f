"""Runs side by side: what they were told, and what came of it. Needs no TensorFlow."""

import json
import statistics
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jobs.exits import ConfigError
from jobs.rundir import RunDir
from trainer.history import History, best_epoch, read_history

EVALUATION = "evaluation.json"
PLACES = ("data.data_dir", "publish.store")  # where things lie says nothing about a model


@dataclass(frozen=True)
class Side:
    """One run, read from its files."""

    run: RunDir
    settings: dict[str, Any]  # "train.epochs" -> 20, of the resolved job file
    evaluation: dict[str, Any]
    history: History

    @property
    def metrics(self) -> dict[str, float]:
        """Give the scalar scores by name."""
        told = self.evaluation
        names = ("accuracy", "loss", "macro_f1", "weighted_f1")
        scores = {name: told[name] for name in names if name in told}
        if told["top_k_accuracy"] is not None:
            scores[f"top_{told['top_k']}_accuracy"] = told["top_k_accuracy"]
        if "calibration" in told:
            scores["calibration_error"] = told["calibration"]["error"]
        return scores

    @property
    def intervals(self) -> dict[str, list[float]]:
        """Give [low, high] of the scores that have an interval."""
        told = self.evaluation.get("intervals", {})
        return {name: [ends["low"], ends["high"]] for name, ends in told.items()}

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Give epochs, speed, seconds and size; None for what the run has no record of."""
        seconds = sum(self.run.seconds().values())
        model = self.run / "model.keras"
        waits = [entry["waiting_share"] for entry in self._read("input.json") or []]
        return {
            "epochs": len(self.history),
            "best_epoch": best_epoch(self.history),
            "examples_per_second": self._examples_per_second(),
            "waiting_share": statistics.median(waits) if waits else None,
            "precision": (self._read("precision.json") or {}).get("policy"),
            "seconds": round(seconds, 1),
            "model_bytes": model.stat().st_size if model.is_file() else None,
        }

    @property
    def test_split(self) -> str:
        """Give what tells test splits apart: the source's content, and the examples per class."""
        data = self._read("data.json") or {}
        return json.dumps([data.get("digest"), data.get("counts", {}).get("test")])

    def _examples_per_second(self) -> float | None:
        counts = (self._read("data.json") or {}).get("counts", {}).get("train")
        if not counts:
            return None
        examples = sum(counts.values())  # of all classes
        batch = min(self.settings["train.batch_size"], examples)
        median = statistics.median(entry["seconds"] for entry in self.history)
        return round(examples // batch * batch / median, 1)

    def _read(self, name: str) -> Any:
        return self.run.read_json(name) if (self.run / name).is_file() else None


@dataclass(frozen=True)
class Comparison:
    """Two runs or more."""

    sides: list[Side]

    @property
    def names(self) -> list[str]:
        """Give the runs' names, with the job's where they differ."""
        paths = [side.run.path.resolve() for side in self.sides]
        if len({path.parent for path in paths}) == 1:
            return [path.name for path in paths]
        return [f"{path.parent.name}/{path.name}" for path in paths]

    @property
    def differing(self) -> list[str]:
        """Give the settings that are not the same in all runs."""
        keys = list(dict.fromkeys(key for side in self.sides for key in side.settings))
        return [
            key
            for key in keys
            if key not in PLACES and len({repr(s.settings.get(key)) for s in self.sides}) > 1
        ]

    @property
    def same_data(self) -> bool:
        """Tell whether all were scored on the same examples, so that their scores compare."""
        return len({side.test_split for side in self.sides}) == 1

    def to_json(self) -> dict[str, Any]:
        """Give the comparison as plain JSON values."""
        runs = [
            {
                "run": str(side.run.path),
                "settings": {key: side.settings.get(key) for key in self.differing},
                "metrics": side.metrics,
                "intervals": side.intervals,
                **side.facts,
            }
            for side in self.sides
        ]
        return {"same_data": self.same_data, "runs": runs}


def compare(paths: list[Path]) -> Comparison:
    """Read the runs. Raises ConfigError for fewer than two, and for one without scores."""
    if len(paths) < 2:
        raise ConfigError(f"a comparison needs at least 2 runs, received {len(paths)}")
    return Comparison([_read_side(path) for path in paths])


def _read_side(path: Path) -> Side:
    run = RunDir.open(path)
    if not (run / EVALUATION).is_file():
        raise ConfigError(
            f"{path} has no scores yet: continue it with convoy train --resume {path}"
        )
    settings = run.job().model_dump(mode="json", by_alias=True, exclude_none=True)
    return Side(
        run=run,
        settings=_flat(settings),
        evaluation=run.read_json(EVALUATION),
        history=read_history(run / "history.csv"),
    )


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give every leaf by its dotted path."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves |= _flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves
