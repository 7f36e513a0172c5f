"""A Pusher into our store: verified in a fresh server, published atomically, labelled, probed."""

import json
import tempfile
from pathlib import Path
from typing import Any

from tfx.components.pusher.executor import Executor
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import Channel, artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter
from tfx.types.standard_component_specs import PusherSpec
from tfx.utils import io_utils

from jobs.config import Job
from jobs.config import parse as parse_job
from jobs.release import GOLDEN, Release
from jobs.rundir import RunDir
from jobs.tfx_pipeline.obstacles import obstacles, version_of
from jobs.tfx_pipeline.samples import golden_of
from trainer.callbacks import Hooks

REASONS = "reasons"
UNCHANGED = "unchanged"  # the version was there already


class StoreExecutor(Executor):
    """Publishes a blessed model; one that is not blessed leaves the store as it is."""

    def Do(  # TFX's name
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Raise VerifyFailed when a server does not answer like the model."""
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if not self.CheckBlessing(input_dict):
            self._refuse(pushed, ["not blessed by the Evaluator"])
            return
        job = parse_job(json.loads(exec_properties["custom_config"])["job"], "custom_config")
        records = io_utils.all_files_pattern(
            artifact_utils.get_split_uri(input_dict["examples"], "test")
        )
        with tempfile.TemporaryDirectory() as place:
            run = RunDir.begin(Path(place) / "run", job.to_toml())
            io_utils.copy_dir(self.GetModelPath(input_dict), str(run / "export"))
            golden_of(run / "export", records).save(run / GOLDEN)
            self._publish(Release(job, run, Hooks()), pushed)

    def _publish(self, release: Release, pushed: Any) -> None:
        if (version := version_of(release)) is not None:
            pushed.set_int_custom_property(UNCHANGED, 1)
            self._mark(release, pushed, version)
            return
        if reasons := obstacles(release):
            self._refuse(pushed, reasons)
            return
        version, faults = release.roll_out_export()
        if faults:
            self._refuse(pushed, faults)
            return
        self._mark(release, pushed, version)

    def _mark(self, release: Release, pushed: Any, version: int) -> None:
        place = release.store.path(release.job.name, version)
        self._MarkPushed(pushed, pushed_destination=str(place), pushed_version=str(version))

    def _refuse(self, pushed: Any, reasons: list[str]) -> None:
        self._MarkNotPushed(pushed)
        pushed.set_string_custom_property(REASONS, "; ".join(reasons))


class StorePusherSpec(PusherSpec):
    """A Pusher's inputs, and the examples to verify by."""

    INPUTS = {
        **PusherSpec.INPUTS,
        "examples": ChannelParameter(type=standard_artifacts.Examples),
    }


class StorePusher(BaseComponent):
    """Publishes into the job's store what the Evaluator has blessed."""

    SPEC_CLASS = StorePusherSpec
    EXECUTOR_SPEC = ExecutorClassSpec(StoreExecutor)

    def __init__(self, job: Job, model: Any, blessing: Any, examples: Any) -> None:
        tree = job.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude={"tfx": {"resources", "image"}}
        )
        spec = StorePusherSpec(
            model=model,
            model_blessing=blessing,
            examples=examples,
            custom_config=json.dumps({"job": tree}),
            pushed_model=Channel(type=standard_artifacts.PushedModel),
        )
        super().__init__(spec=spec)
