"""What a run's files say of it, gathered for its page."""

from dataclasses import replace

import numpy as np

from jobs.card import make_card
from jobs.config import Job
from jobs.preparation import PRECISION, WARNINGS
from jobs.rundir import CONFIG, RunDir
from pipeline.dataset import DataInfo
from trainer import input_report
from trainer.evaluate import Evaluation, Predictions
from trainer.summary import RunSummary, TrainingFacts

CARD = "card.json"  # of an export


def summarize(
    job: Job, run: RunDir, info: DataInfo, evaluation: Evaluation, predictions: Predictions
) -> RunSummary:
    """Gather what the page about a run tells of, as far as the run has come."""
    return RunSummary(
        name=job.name,
        info=info,
        evaluation=evaluation,
        predictions=predictions,
        rules=run.read_json("data.json")["rules"],
        offenders=_offenders(run),
        blessing=run.read_json("blessing.json")["rules"],
        training=TrainingFacts(
            precision=_precision(run),
            waiting=input_report.read(run.path),
            seconds=run.seconds(),
            warnings=run.read_json(WARNINGS) if (run / WARNINGS).exists() else (),
        ),
        card=run.read_json(CARD) if (run / CARD).exists() else make_card(job, run, info),
        config=(run / CONFIG).read_text(encoding="utf-8"),
    )


def judged(summary: RunSummary, status: str, version: int | None) -> RunSummary:
    """Add how the run ended."""
    return replace(summary, status=status, version=version)


def _precision(run: RunDir) -> str:
    if not (run / PRECISION).exists():
        return ""
    told = run.read_json(PRECISION)
    return f"{told['policy']}: {told['reason']}"


def _offenders(run: RunDir) -> list[tuple[str, np.ndarray]]:
    """Give the pictures of what broke a rule of the data check."""
    path = run / "data.npz"
    if not path.exists():
        return []
    with np.load(path) as archive:
        return list(zip(archive["keys"].tolist(), archive["images"], strict=True))
