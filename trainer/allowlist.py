"""What a model file of Keras 2 may hold, judged before Keras reads it.

Reading a model makes objects by the names in its configuration, and tf-keras takes any name of any
module: CVE-2025-1550 and CVE-2025-9906, mended in Keras 3 alone. So the configuration is read here
as plain data, and each object in it has to be on a list by its class, its module and its registered
name. What else a file can make its reader do is refused as well: HDF5 links to other files, and
operations of a SavedModel's graph that touch files, tables or Python.
"""

import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import h5py

_LAYERS = """
    Activation ActivityRegularization Add AlphaDropout Average AveragePooling1D AveragePooling2D
    AvgPool1D AvgPool2D BatchNormalization CenterCrop Concatenate Conv1D Conv2D Conv2DTranspose
    Convolution1D Convolution2D Convolution2DTranspose Cropping1D Cropping2D Dense DepthwiseConv1D
    DepthwiseConv2D Dot Dropout ELU EinsumDense Flatten GaussianDropout GaussianNoise
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAvgPool1D GlobalAvgPool2D GlobalMaxPool1D
    GlobalMaxPool2D GlobalMaxPooling1D GlobalMaxPooling2D GroupNormalization Identity InputLayer
    LayerNormalization LeakyReLU LocallyConnected1D LocallyConnected2D MaxPool1D MaxPool2D
    MaxPooling1D MaxPooling2D Maximum Minimum MultiHeadAttention Multiply Normalization PReLU
    Permute RandomBrightness RandomContrast RandomCrop RandomFlip RandomHeight RandomRotation
    RandomTranslation RandomWidth RandomZoom ReLU RepeatVector Rescaling Reshape Resizing
    SeparableConv1D SeparableConv2D SeparableConvolution1D SeparableConvolution2D Softmax
    SpatialDropout1D SpatialDropout2D SpectralNormalization Subtract ThresholdedReLU TimeDistributed
    UnitNormalization UpSampling1D UpSampling2D ZeroPadding1D ZeroPadding2D
"""
_INITIALIZERS = """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal LecunUniform Ones
    Orthogonal RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
"""
_METRICS = """
    Accuracy AUC BinaryAccuracy BinaryCrossentropy CategoricalAccuracy CategoricalCrossentropy Mean
    MeanMetricWrapper Precision Recall SparseCategoricalAccuracy SparseCategoricalCrossentropy
    SparseTopKCategoricalAccuracy Sum TopKCategoricalAccuracy
"""
_ACTIVATIONS = """
    elu exponential gelu hard_sigmoid linear mish relu relu6 selu sigmoid softmax softplus softsign
    swish tanh
"""
# Operations with a state that a network needs, or the reader of its checkpoint.
_STATEFUL = """
    Assert AssignAddVariableOp AssignSubVariableOp AssignVariableOp DestroyResourceOp
    DisableCopyOnRead If MergeV2Checkpoints RandomStandardNormal RandomUniform RandomUniformInt
    ReadVariableOp RestoreV2 RngReadAndSkip RngSkip SaveV2 StatefulPartitionedCall
    StatefulStandardNormalV2 StatefulTruncatedNormal StatefulUniform StatefulUniformInt
    TruncatedNormal VarHandleOp VarIsInitializedOp While
"""
# Where Keras 2 said that a class lies, by what it is; older files do not say.
KINDS = {
    "layers": frozenset(_LAYERS.split()),
    "initializers": frozenset(_INITIALIZERS.split()),
    "regularizers": frozenset(("L1", "L1L2", "L2", "OrthogonalRegularizer")),
    "constraints": frozenset(("MaxNorm", "MinMaxNorm", "NonNeg", "RadialConstraint", "UnitNorm")),
    "metrics": frozenset(_METRICS.split()),
    "mixed_precision": frozenset(("Policy",)),
    "models": frozenset(("Functional", "Model", "Sequential")),
}
MODEL_MODULES = frozenset(
    f"{root}.{module}"
    for root in ("keras", "keras.src", "tf_keras", "tf_keras.src")
    for module in ("engine.functional", "engine.sequential", "engine.training", "models")
) | {"keras", "tf_keras"}
DATA = frozenset(
    ["TensorShape", "InputSpec", "__tuple__", "__ellipsis__", "__tensor__", "__numpy__"]
)
ACTIVATIONS = frozenset(_ACTIVATIONS.split())
MEMBERS = frozenset(("metadata.json", "config.json", "model.weights.h5"))
LARGEST_CONFIG = 64 << 20  # bytes of JSON; applications/NASNetLarge has 0.6 MB
STATEFUL = frozenset(_STATEFUL.split())
# What reaches files or Python although TensorFlow lists no state for it.
REACHING = re.compile(
    "Dataset|Debug|DecodeProto|InitializeTable|MatchingFiles|PyFunc|ReadFile|Snapshot"
)


def check_archive(path: Path) -> None:
    """Raise ValueError when a .keras file of Keras 2 holds more than the layers on the list."""
    with zipfile.ZipFile(path) as archive:
        if strange := sorted(set(archive.namelist()) - MEMBERS):
            raise ValueError(f"{path} holds {strange[0]!r}: a network is {_join(MEMBERS)} alone")
        size = archive.getinfo("config.json").file_size
        if size > LARGEST_CONFIG:
            raise ValueError(f"{path}: config.json has {size} bytes, the limit is {LARGEST_CONFIG}")
        config = _parse(path, archive.read("config.json"))
        _check_model(_without(config, "compile_config"), path)  # which is not read with it
        if "model.weights.h5" in archive.namelist():
            with archive.open("model.weights.h5") as weights:
                _check_hdf5(BytesIO(weights.read()), path)


def check_hdf5(path: Path) -> None:
    """Raise ValueError when an .h5 file holds more than the layers on the list and numbers."""
    with path.open("rb") as file:
        _check_hdf5(file, path)
    with h5py.File(path) as file:
        config = file.attrs.get("model_config")
    if config is not None:
        _check_model(_parse(path, config), path)


def check_saved_model(path: Path) -> None:
    """Raise ValueError when a SavedModel's layers are not on the list, or its graph does more."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    for graph in model.meta_graphs:
        library = graph.graph_def.library.function
        bodies = [graph.graph_def.node, *(function.node_def for function in library)]
        _check_operations({node.op for body in bodies for node in body}, path)
        for node in graph.object_graph_def.nodes:
            if node.user_object.identifier.startswith("_tf_keras"):
                _check_metadata(node.user_object.metadata, path)
    for metadata in _metadata(path / "keras_metadata.pb"):
        _check_metadata(metadata, path)


def _metadata(path: Path) -> Iterator[str]:
    from tf_keras.protobuf.saved_metadata_pb2 import SavedMetadata

    if path.is_file():
        for node in SavedMetadata.FromString(path.read_bytes()).nodes:
            yield node.metadata


def _check_metadata(text: str, path: Path) -> None:
    if text:
        _check_model(_without(_parse(path, text), "training_config"), path)  # which is not read


def _parse(path: Path, text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"the configuration in {path} is no JSON: {problem}") from None


def _without(config: Any, name: str) -> Any:
    return {k: v for k, v in config.items() if k != name} if isinstance(config, dict) else config


def _check_model(config: Any, path: Path) -> None:
    try:
        for found in _objects(config):
            _check_class(found, path)
    except RecursionError:
        raise ValueError(f"the configuration in {path} is nested too deeply") from None


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every object that a configuration describes, and what names code without one."""
    if isinstance(config, list):
        if "_CONSTANT_VALUE" in [item for item in config if isinstance(item, str)]:
            yield {"class_name": "_CONSTANT_VALUE"}
        for item in config:
            yield from _objects(item)
    elif isinstance(config, dict):
        if "class_name" in config:
            yield config
        for key in ("activation", "recurrent_activation"):
            if isinstance(config.get(key), str) and config[key] not in ACTIVATIONS:
                yield {"class_name": config[key]}
        for value in config.values():
            yield from _objects(value)


def _check_class(found: dict[str, Any], path: Path) -> None:
    name, module = found["class_name"], found.get("module")
    registered = found.get("registered_name")
    if not _is_allowed(name, module, found) or registered not in (None, name):
        shown = ", ".join(
            f"{key} {found[key]!r}"
            for key in ("class_name", "module", "registered_name")
            if found.get(key) is not None
        )
        code = ", whose code would run on import" if "ambda" in str(name) else ""
        raise ValueError(
            f"{path} has a layer or object of {shown}{code}: only layers, initializers, "
            "regularizers, constraints and activations of Keras itself are read. Replace it with "
            "one, and save the model again"
        )


def _is_allowed(name: Any, module: Any, found: dict[str, Any]) -> bool:
    if name == "TypeSpec":
        return found.get("type_spec") == "tf.TensorSpec"
    if not isinstance(name, str):
        return False
    kinds = [kind for kind, names in KINDS.items() if name in names]
    if not kinds:
        return name in DATA and module is None
    modules = {f"{root}.{kind}" for root in ("keras", "tf_keras") for kind in kinds}
    return module is None or module in (modules | MODEL_MODULES if "models" in kinds else modules)


def _check_hdf5(file: IO[bytes], path: Path) -> None:
    """Refuse what would have HDF5 read other files: external links and storage, virtual data."""
    with h5py.File(file) as root:
        pending = [root]
        while pending:
            group = pending.pop()
            for name in group:
                if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                    raise ValueError(f"{path}: {group.name}/{name} is a link to another file")
                if isinstance(group.get(name, getlink=True), h5py.SoftLink):
                    continue  # to what is visited anyway, or to nothing
                item = group[name]
                if isinstance(item, h5py.Group):
                    pending.append(item)
                elif item.external or item.is_virtual:
                    raise ValueError(f"{path}: the numbers of {item.name} lie in another file")


def _check_operations(operations: Iterable[str], path: Path) -> None:
    from tensorflow.python.framework import op_def_registry

    for name in sorted(set(operations) - STATEFUL):
        definition = op_def_registry.get(name)
        if definition is None or definition.is_stateful or REACHING.search(name):
            raise ValueError(
                f"the graph of {path} has the operation {name}, which reaches beyond the network: "
                "files, tables or Python"
            )


def _join(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
