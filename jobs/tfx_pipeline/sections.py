"""What of a job goes to the components, and what they cannot do; without tfx."""

from typing import Any

from jobs.config import Job
from jobs.exits import ConfigError

INGESTED = {  # ExampleGen has done these; the Trainer reads its examples
    "source",
    "data_dir",
    "beam_options",
    "class_names",
    "validation_fraction",
    "test_fraction",
    "resplit",
    "check",
}


def check_job(job: Job) -> None:
    """Raise ConfigError when the job asks for what a pipeline does not do."""
    if job.bless.max_calibration_error is not None:
        raise ConfigError(
            "bless.max_calibration_error is set, and TFX's Evaluator does not measure it: unset it "
            "for the pipeline, or use convoy run"
        )
    if job.evaluate.slices and (taken := {"image", "features", "label"} & set(job.evaluate.slices)):
        raise ConfigError(f"evaluate.slices: {', '.join(taken)} is no column of metadata")


def for_trainer(job: Job) -> dict[str, Any]:
    """Give the Trainer's `custom_config`."""
    tree = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    data = {key: value for key, value in tree["data"].items() if key not in INGESTED}
    return {"convoy": {"data": data, "model": tree["model"], "train": tree["train"]}}


def for_tuner(job: Job) -> dict[str, Any] | None:
    """Give the Tuner's `custom_config`; None for a job that does not search."""
    if job.tune is None or not job.tune.enabled:
        return None
    tune = job.tune.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"convoy": {**for_trainer(job)["convoy"], "tune": tune}}
