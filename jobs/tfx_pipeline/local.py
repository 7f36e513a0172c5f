"""A pipeline run on this machine, one step after another."""

import logging
import secrets
from datetime import UTC, datetime
from typing import Any

from tfx.dsl.compiler.compiler import Compiler
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.portable.runtime_parameter_utils import substitute_runtime_parameter

from jobs.config import Job
from jobs.exits import ConfigError
from jobs.tfx_pipeline.assembly import create_pipeline
from pipeline.dataset import open_data

RUN_ID = "pipeline-run-id"
log = logging.getLogger(__name__)


def new_run() -> str:
    """Give the id of a new run."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{moment}-{secrets.token_hex(3)}"


def compile_local(job: Job, run: str) -> Any:
    """Give the pipeline for LocalDagRunner. Raises ConfigError when the job cannot be run so."""
    if job.tfx.metadata is None and "://" in job.tfx.root:
        raise ConfigError(f"tfx.root is {job.tfx.root}: a local run also needs tfx.metadata")
    try:
        info = open_data(job.data).info
    except ValueError as problem:
        raise ConfigError(str(problem)) from None
    if info.is_image and job.data.image_size is None:
        raise ConfigError("data.image_size is not set, and examples in a pipeline have no other")
    version = f"{info.digest} {job.tfx.data_version}".strip()
    compiled = Compiler().compile(create_pipeline(job, version))
    substitute_runtime_parameter(compiled, {RUN_ID: run})
    return compiled


def run_local(job: Job, run: str) -> None:
    """Run every step whose inputs have changed. A step's errors pass."""
    LocalDagRunner().run_with_ir(compile_local(job, run))
