"""Our sources as an ExampleGen: the splits that `convoy run` trains on, written through Beam."""

import json
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from tfx.components.example_gen.base_example_gen_executor import BaseExampleGenExecutor
from tfx.components.example_gen.component import QueryBasedExampleGen
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.proto import example_gen_pb2

from jobs.config import Job
from jobs.tfx_pipeline.queries import Query
from pipeline.inspection import inspect, refusal
from pipeline.sources.splits import Slice
from pipeline.sources.tfrecord import KEY, encode

PART = 1024  # examples that one worker reads at a time
SPLITS = {"train": "train", "eval": "validation", "test": "test"}  # TFX's names, and ours


class _ReadPart(beam.DoFn):
    """Reads examples from `start` to before `stop` as records."""

    def __init__(self, query: Query) -> None:
        self._query = query

    def setup(self) -> None:
        data = self._query.open()
        self._slice, self._names = data.slices[self._query.split], data.info.class_names

    def process(self, bounds: tuple[int, int]) -> Iterator[bytes]:
        part: Slice = self._slice.part(*bounds)
        columns = part.metadata(self._query.columns)
        for row, example in enumerate(part.read().as_numpy_iterator()):
            texts = {name: str(values[row]) for name, values in columns.items()}
            texts[KEY] = example["key"].decode()
            number = int(example["label"])
            inputs = {name: example[name] for name in ("image", "features") if name in example}
            yield encode(inputs, number, self._names[number], texts)


@beam.ptransform_fn
@beam.typehints.with_input_types(beam.Pipeline)
@beam.typehints.with_output_types(bytes)
def _read(pipeline: beam.Pipeline, exec_properties: dict[str, Any], pattern: str) -> Any:
    query = Query.of_text(pattern)
    count = query.open().slices[query.split].count
    parts = [(start, min(start + PART, count)) for start in range(0, count, PART)]
    return pipeline | beam.Create(parts) | beam.Reshuffle() | beam.ParDo(_ReadPart(query))


class SourceExecutor(BaseExampleGenExecutor):
    """Checks the data as the job says, then writes every split."""

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:  # TFX's name
        return _read

    def GenerateExamplesByBeam(
        self, pipeline: beam.Pipeline, exec_properties: dict[str, Any]
    ) -> dict[str, beam.pvalue.PCollection]:
        """Raise ValueError when an error rule of the data check breaks."""
        first = json.loads(exec_properties["input_config"])["splits"][0]["pattern"]
        query = Query.of_text(first)
        verdict = inspect(query.open(), query.data.check).check
        if not verdict.ok:
            raise ValueError(refusal(verdict))
        return super().GenerateExamplesByBeam(pipeline, exec_properties)


class SourceExampleGen(QueryBasedExampleGen):
    """Writes a job's data as tf.Example records: splits train, eval and test."""

    EXECUTOR_SPEC = BeamExecutorSpec(SourceExecutor)


def example_gen(job: Job, version: str) -> SourceExampleGen:
    """Give the component; data of the same `version` are not read again."""
    splits = [
        example_gen_pb2.Input.Split(
            name=name, pattern=Query(job.data, ours, job.evaluate.slices, version).to_text()
        )
        for name, ours in SPLITS.items()
    ]
    return SourceExampleGen(input_config=example_gen_pb2.Input(splits=splits))
