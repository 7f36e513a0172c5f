"""Models of Keras 2, read with tf-keras: .h5 files, Keras-2 .keras files and SavedModels."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from pipeline.dataset import DataInfo
from pipeline.labels import distinct
from trainer import allowlist

HDF5 = b"\x89HDF\r\n\x1a\n"
HALF = {"float16", "bfloat16", "mixed_float16", "mixed_bfloat16"}
Head = Callable[[tf.Tensor], tf.Tensor]


class ImportedNetwork(tf.Module):
    """A network of Keras 2 that answers as ours do: float32 probabilities [N, K]."""

    def __init__(self, model: Any, head: Head) -> None:
        super().__init__(name="imported")
        self.model = model  # tracked: its variables are exported with it
        self._head = head

    def __call__(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return the probabilities for scaled inputs; there is no training mode."""
        return self._head(tf.cast(self.model(inputs, training=False), tf.float32))


def load(
    path: Path,
    class_names: Sequence[str] = (),
    image_size: tuple[int, int] | None = None,
) -> tuple[ImportedNetwork, DataInfo]:
    """Read a model of Keras 2, with what the export must know of its data.

    Without `class_names`, classes are called "0", "1", ... `image_size` (H, W) is needed when the
    model takes any. Outputs that are logits become probabilities; a single sigmoid becomes two
    classes, the second being the sigmoid's. Raises ValueError when the file is no model of Keras
    2, would run code of its own, or does not classify one image or vector.
    """
    _check_source(path)
    model = _in_float32(_read(path))
    shape = _input_shape(model, image_size)
    head, num_classes = _head(model)
    names = distinct(class_names, str(path)) or tuple(map(str, range(num_classes)))
    if len(names) != num_classes:
        raise ValueError(f"{path} has {num_classes} classes, not the {len(names)} named")
    info = DataInfo(
        source=f"import:{path.name}",
        digest=_digest(path),
        class_names=names,
        counts={},
        shape=shape,
    )
    return ImportedNetwork(model, head), info


def _read(path: Path) -> Any:
    import tf_keras  # half a second, and needed by nothing else

    try:
        model = tf_keras.models.load_model(path, compile=False)
    except Exception as problem:  # whatever a file from elsewhere makes it run into
        reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise ValueError(f"tf-keras cannot read {path}: {reason}") from None
    if not isinstance(model, tf_keras.Model):
        raise ValueError(
            f"{path} is a SavedModel that Keras 2 did not write. One with signatures is served as "
            "it is: copy it into a directory with a number for its version"
        )
    if not (model._is_graph_network and hasattr(model, "input_shape")):
        raise ValueError(
            f"{path} is a model of a class of its own ({type(model).__name__}), whose input and "
            "layers are not in the file. Build the same network from layers (tf_keras.Model(inputs,"
            " outputs)), set its weights, and save that"
        )
    return model


def _in_float32(model: Any) -> Any:
    """Return the model for float32 compute: half precision was a matter of its training."""
    if all(layer.compute_dtype not in HALF for layer in model._flatten_layers()):
        return model
    twin = type(model).from_config(_full_precision(model.get_config()))
    twin.set_weights(model.get_weights())
    return twin


def _full_precision(config: Any) -> Any:
    """Return a layer's configuration, and those of layers in it, without half precision."""
    if isinstance(config, dict):
        if config.get("class_name") == "Policy":
            return "float32"
        halved = str(config.get("dtype")) in HALF
        whole = config | {"dtype": "float32"} if halved else config
        return {key: _full_precision(value) for key, value in whole.items()}
    if isinstance(config, list | tuple):
        return type(config)(map(_full_precision, config))
    return config


def _check_source(path: Path) -> None:
    """Raise ValueError when it is no model of Keras 2, or holds more than a network."""
    if path.is_dir() and (path / "saved_model.pb").is_file():
        allowlist.check_saved_model(path)
    elif path.is_file() and zipfile.is_zipfile(path):
        _check_version(path)
        allowlist.check_archive(path)
    elif path.is_file() and _starts_with(path, HDF5):
        allowlist.check_hdf5(path)
    else:
        raise ValueError(
            f"{path} is no model of Keras 2: expected an .h5 or .keras file, or a SavedModel's "
            "directory"
        )


def _starts_with(path: Path, signature: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(signature)) == signature


def _check_version(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in names else {}
    version = str(metadata.get("keras_version", ""))
    if not version.startswith("2."):
        raise ValueError(
            f"{path} was saved by Keras {version or 'of an unknown version'}, not by Keras 2. A "
            "model of Keras 3 needs no import: keras.saving.load_model reads it"
        )


def _input_shape(model: Any, image_size: tuple[int, int] | None) -> tuple[int, ...]:
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) not in (2, 4):
        raise ValueError(f"the model takes {shape}: expected one batch of images or of vectors")
    if len(shape) == 2:
        return (_known(shape[1], "the length of the vectors"),)
    height, width = (image_size or (None, None)) if None in shape[1:3] else shape[1:3]
    if image_size and image_size != (height, width):
        raise ValueError(f"the model takes images of {(height, width)}, not {image_size}")
    size = [_known(side, "image_size: the model takes any") for side in (height, width)]
    if shape[3] not in (1, 3):
        raise ValueError(f"the model takes images of {shape[3]} channels: expected 1 or 3")
    return (*size, shape[3])


def _known(size: int | None, what: str) -> int:
    if size is None:
        raise ValueError(f"give {what}")
    return int(size)


def _head(model: Any) -> tuple[Head, int]:
    """Return what makes probabilities of the model's output, and how many classes it has."""
    shape = model.output_shape
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] is None:
        raise ValueError(f"the model gives {shape}: expected one vector of classes an example")
    activation = _last_activation(model)
    if activation == "sigmoid" and shape[1] == 1:
        return _both_classes, 2
    if activation == "linear" and shape[1] > 1:
        return tf.nn.softmax, int(shape[1])
    if activation == "softmax" and shape[1] > 1:
        return tf.identity, int(shape[1])
    raise ValueError(
        f"the model's last activation is {activation} of {shape[1]}: expected softmax, logits or "
        "a single sigmoid"
    )


def _last_activation(model: Any) -> str:
    """Return the name of the last layer's activation, or of the layer where it has none."""
    layer = model
    while hasattr(layer, "layers"):  # the last layer may be a model itself
        layer = layer.layers[-1]
    name: str = getattr(getattr(layer, "activation", None), "__name__", type(layer).__name__)
    return name.lower()


def _both_classes(positive: tf.Tensor) -> tf.Tensor:
    return tf.concat([1.0 - positive, positive], axis=1)


def _digest(path: Path) -> str:
    """Return the sha256 of the file, or of a directory's files in the order of their names."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
