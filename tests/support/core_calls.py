"""Calls of both services about the core models, as TensorFlow Serving's own test makes them."""

from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

VERSION = 123


def config(models: Path, *names: str) -> str:
    """Return a ModelServerConfig of models below a directory, in text format."""
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{models / name}" model_platform: "tensorflow" }} '
        for name in names
    )
    return f"model_config_list {{ {entries}}}"


class Stub:
    """Both services at an address."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        model = model_service_pb2_grpc.ModelServiceStub(self.channel)
        self.status, self.reload = model.GetModelStatus, model.HandleReloadConfigRequest
        self.predict, self.classify = prediction.Predict, prediction.Classify
        self.regress, self.multi_inference = prediction.Regress, prediction.MultiInference


def predicted(
    stub: Stub, model: str, output: str = "", signature: str = "", batch: bool = False
) -> float:
    """Ask about 2.0 and return the answer; what echoes the request must be right."""
    request = predict_pb2.PredictRequest(output_filter=[output] if output else [])
    request.model_spec.name, request.model_spec.signature_name = model, signature
    shape = [1, 1] if batch else [1]
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([2.0], tf.float32, shape))
    response = stub.predict(request, timeout=30)
    spec = response.model_spec
    assert (spec.name, spec.version.value) == (model, VERSION)
    assert spec.signature_name == (signature or "serving_default")
    (answer,) = response.outputs.values()
    assert answer.dtype == tf.float32.as_datatype_enum
    (value,) = answer.float_val
    return float(value)


def has(stub: Stub, model: str) -> bool:
    """Tell whether a model answers."""
    try:
        return bool(predicted(stub, model))
    except grpc.RpcError:
        return False
