"""What a job says about running as a TFX pipeline."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Step = Literal[
    "SourceExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ImportSchemaGen",
    "ExampleValidator",
    "Tuner",
    "Trainer",
    "Evaluator",
    "StorePusher",
]


class ResourcesConfig(BaseModel):
    """What a step gets on a cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpus: float | None = Field(None, gt=0, description="Processors; unset leaves it to the cluster")
    memory_gb: float | None = Field(
        None, gt=0, description="Gigabytes of memory; unset leaves it to the cluster"
    )
    accelerator: str | None = Field(
        None, description='The accelerator\'s name on the cluster, such as "NVIDIA_TESLA_T4"'
    )
    accelerators: int = Field(1, ge=1, description="How many of them, where one is named")


class TfxConfig(BaseModel):
    """Where a pipeline keeps its artifacts and metadata, and what its steps run on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: str = Field(
        "pipelines",
        description="Where artifacts go, below the job's name: a directory, or a bucket's URL for "
        "clusters",
    )
    metadata: str | None = Field(
        None,
        pattern=r"^(mysql|postgresql)://[^@/:\s]+@[^@/:\s]+(:\d+)?/[^/\s]+$",
        description="ML Metadata's database, such as mysql://user@host:3306/name or "
        "postgresql://user@host/name, its password in CONVOY_METADATA_PASSWORD; unset is an SQLite "
        "file under root. Clusters have their own",
    )
    cache: bool = Field(
        True, description="Take over the results of steps whose inputs and settings are unchanged"
    )
    data_version: str = Field(
        "",
        description="Change it when a cluster shall read the data anew; convoy tfx run sees by "
        "itself that data have changed",
    )
    schema_file: str | None = Field(
        None,
        description="A curated schema (text-format Schema) to validate examples against; unset "
        "infers one from the statistics of the training examples",
    )
    beam_args: tuple[str, ...] = Field(
        (),
        description='Flags for Apache Beam, such as "--runner=FlinkRunner"; unset runs in one '
        "process",
    )
    image: str = Field(
        "convoy-tfx",
        description="The container image of all steps on a cluster: deploy/Dockerfile's target tfx",
    )
    resources: dict[Step, ResourcesConfig] = Field(
        {}, description='By step, such as [tfx.resources.Trainer]; "convoy tfx compile" writes them'
    )
