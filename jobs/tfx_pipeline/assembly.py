"""The components of a job's pipeline, put together."""

from pathlib import Path
from typing import Any

from tfx import v1 as tfx

from jobs.config import Job
from jobs.tfx_pipeline.connection import connection_config
from jobs.tfx_pipeline.ingestion import example_gen
from jobs.tfx_pipeline.pusher import StorePusher
from jobs.tfx_pipeline.sections import check_job, for_trainer, for_tuner
from jobs.tfx_pipeline.verdict import eval_config

Components = list[Any]


def create_pipeline(job: Job, data_version: str | None = None) -> tfx.dsl.Pipeline:
    """Give the pipeline that does what `convoy run` does with the job.

    `data_version` tells data of the same source apart; without one it is the job's. Raises
    ConfigError when the job asks for what a pipeline does not do.
    """
    check_job(job)
    version = job.tfx.data_version if data_version is None else data_version
    return tfx.dsl.Pipeline(
        pipeline_name=job.name,
        pipeline_root=f"{job.tfx.root}/{job.name}",
        components=_components(job, version),
        enable_cache=job.tfx.cache,
        metadata_connection_config=connection_config(job.tfx),
        beam_pipeline_args=list(job.tfx.beam_args),
    )


def _components(job: Job, version: str) -> Components:
    examples = example_gen(job, version)
    checks, hyperparameters = _checks(job, examples), None
    search = _search(job, examples)
    if search:
        hyperparameters = search[0].outputs["best_hyperparameters"]
    trainer = tfx.components.Trainer(
        run_fn="trainer.tfx.run_fn",
        examples=examples.outputs["examples"],
        hyperparameters=hyperparameters,
        custom_config=for_trainer(job),
        train_args=tfx.proto.TrainArgs(),
        eval_args=tfx.proto.EvalArgs(),
    )
    return [examples, *checks, *search, trainer, *_release(job, examples, trainer)]


def _checks(job: Job, examples: Any) -> Components:
    statistics = tfx.components.StatisticsGen(examples=examples.outputs["examples"])
    if job.tfx.schema_file is None:
        schema = tfx.components.SchemaGen(statistics=statistics.outputs["statistics"])
    else:
        schema = tfx.components.ImportSchemaGen(schema_file=str(Path(job.tfx.schema_file)))
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    return [statistics, schema, validator]


def _search(job: Job, examples: Any) -> Components:
    settings = for_tuner(job)
    if settings is None:
        return []
    tuner = tfx.components.Tuner(
        tuner_fn="tuning.tfx.tuner_fn",
        examples=examples.outputs["examples"],
        custom_config=settings,
        train_args=tfx.proto.TrainArgs(),
        eval_args=tfx.proto.EvalArgs(),
    )
    return [tuner]


def _release(job: Job, examples: Any, trainer: Any) -> Components:
    """Give what judges a model against the last that was blessed, and publishes it."""
    resolver = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id("latest_blessed_model")
    evaluator = tfx.components.Evaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=resolver.outputs["model"],
        eval_config=eval_config(job),
        example_splits=["test"],
    )
    pusher = StorePusher(
        job,
        model=trainer.outputs["model"],
        blessing=evaluator.outputs["blessing"],
        examples=examples.outputs["examples"],
    )
    return [resolver, evaluator, pusher]
