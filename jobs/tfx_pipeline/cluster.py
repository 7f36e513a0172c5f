"""A pipeline compiled for Kubeflow Pipelines or Vertex AI, which share one format."""

import json
import re
from pathlib import Path
from typing import Any

from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)

from jobs.config import Job
from jobs.exits import ConfigError
from jobs.tfx_config import ResourcesConfig
from jobs.tfx_pipeline.assembly import create_pipeline
from pipeline.whole import write_whole

RUNNERS = ("kubeflow", "vertex")
COMMAND = ["python3", "-m", "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"]
Resources = pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec


def compile_for(job: Job, runner: str, out: Path) -> dict[str, Any]:
    """Write the pipeline and give it as a dict.

    Kubeflow takes the PipelineSpec, Vertex AI the PipelineJob around it. Raises ConfigError for a
    runner that is none, or resources of a step that the pipeline has not.
    """
    if runner not in RUNNERS:
        raise ConfigError(f"--runner {runner}: expected {' or '.join(RUNNERS)}")
    pipeline = create_pipeline(job)
    pipeline.pipeline_info.pipeline_name = _legal(job.name)
    _assign(pipeline, dict(job.tfx.resources))
    config = KubeflowV2DagRunnerConfig(default_image=job.tfx.image, default_commands=COMMAND)
    compiled: dict[str, Any] = KubeflowV2DagRunner(config).run(pipeline, write_out=False)
    chosen: dict[str, Any] = compiled["pipelineSpec"] if runner == "kubeflow" else compiled
    write_whole(out, (json.dumps(chosen, indent=2, sort_keys=True) + "\n").encode())
    return chosen


def _assign(pipeline: Any, resources: dict[Any, ResourcesConfig]) -> None:
    """Give each step what the job says of it."""
    for component in pipeline.components:
        if (wanted := resources.pop(component.id, None)) is not None:
            component.platform_config = _spec(wanted)
    if resources:
        raise ConfigError(f"tfx.resources: this pipeline has no step {', '.join(resources)}")


def _spec(wanted: ResourcesConfig) -> Any:
    spec = Resources()
    if wanted.cpus is not None:
        spec.cpu_limit = wanted.cpus
    if wanted.memory_gb is not None:
        spec.memory_limit = wanted.memory_gb
    if wanted.accelerator is not None:
        spec.accelerator.type = wanted.accelerator
        spec.accelerator.count = wanted.accelerators
    return spec


def _legal(name: str) -> str:
    """Give the job's name in the letters that Kubeflow allows."""
    return re.sub(r"[^a-z0-9-]", "-", name.lower())
