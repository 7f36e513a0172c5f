"""The names of TensorFlow Serving's services, described to whoever asks by reflection."""

import importlib
from contextlib import suppress

_FILES = ("prediction_service_pb2", "model_service_pb2")
SERVICES = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")

for _file in _FILES:
    with suppress(AttributeError):  # 2.19, which tfx needs, ends so, having described its services
        importlib.import_module(f"tensorflow_serving.apis.{_file}")
