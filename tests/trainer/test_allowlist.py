"""Model files from elsewhere: what would make their reader do more than read is refused before."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tf_keras.protobuf.saved_metadata_pb2 import SavedMetadata

from trainer import allowlist, legacy

Config = dict[str, Any]


def layer(
    name: str, kind: str = "keras.layers", registered: str | None = None, **config: Any
) -> Config:
    described = {"class_name": name, "module": kind, "registered_name": registered}
    return {**described, "config": {"name": name.lower(), **config}, "inbound_nodes": []}


SYSTEM = layer("function", "os", "system") | {"config": "system"}
HOSTILE: dict[str, Config] = {
    "lambda": layer("Lambda", function=SYSTEM),
    "lambda under another name": layer("Lambda", registered="any>Lambda", function=SYSTEM),
    "layer under lambda's name": layer("Dense", registered="Lambda", function=SYSTEM),
    "function": layer("Dense", activation=SYSTEM),
    "activation by another name": layer("Dense", activation="deserialize"),
    "module of another package": layer("Dense", "subprocess"),
    "module below keras": layer("Dense", "keras.src.utils.generic_utils"),
    "constant argument": layer("ReLU") | {"inbound_nodes": [[["_CONSTANT_VALUE", -1, "id", {}]]]},
    "operation": layer("TFOpLambda", function="math.multiply"),
    "file of a vocabulary": layer("StringLookup", vocabulary="/etc/passwd"),
    "SavedModel in a layer": layer("TFSMLayer", filepath="/srv/model"),
    "code in an initializer": layer("Dense", kernel_initializer=layer("Popen", "subprocess")),
    "type": layer("Dense", dtype={"class_name": "__typespec__", "module": "os", "config": []}),
    "class that is no name": layer("Dense", dtype={"class_name": ["Dense"], "config": {}}),
}
WRAPPED: dict[str, Callable[[Config], Config]] = {
    "bare": lambda bad: bad,
    "nested": lambda bad: layer("Sequential", "keras", layers=[layer("Model", "keras", deep=bad)]),
    "wrapped": lambda bad: layer("TimeDistributed", layer=bad),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one model in all three formats, compiled as most are."""
    directory = tmp_path_factory.mktemp("sound")
    model = tf_keras.Sequential(
        [
            tf_keras.layers.Input((8, 8, 3)),
            tf_keras.layers.RandomFlip(),
            tf_keras.layers.SeparableConv2D(
                4,
                3,
                activation="swish",
                depthwise_regularizer="l2",
                pointwise_constraint=tf_keras.constraints.MaxNorm(2),
                kernel_initializer=tf_keras.initializers.HeNormal(seed=1),
            ),
            tf_keras.Sequential([tf_keras.layers.BatchNormalization(), tf_keras.layers.ReLU(6.0)]),
            tf_keras.layers.Flatten(),
            tf_keras.layers.Dense(3, activation=tf.nn.softmax),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.save(directory / "model.keras")
    with pytest.warns(UserWarning, match="HDF5"):
        model.save(directory / "model.h5")
    model.save(directory / "model", save_format="tf")
    return directory


def poison_keras(path: Path, change: Callable[[Config], None]) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config)
    members["config.json"] = json.dumps(config).encode()
    write_archive(path, members)


def write_archive(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def poison_h5(path: Path, change: Callable[[Config], None]) -> None:
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config).encode()


def poison_saved_model(path: Path, change: Callable[[Config], None]) -> None:
    file = path / "keras_metadata.pb"
    metadata = SavedMetadata.FromString(file.read_bytes())
    config = json.loads(metadata.nodes[0].metadata)
    change(config)
    metadata.nodes[0].metadata = json.dumps(config)
    file.write_bytes(metadata.SerializeToString())


FORMATS = {"model.keras": poison_keras, "model.h5": poison_h5, "model": poison_saved_model}


@pytest.fixture(params=FORMATS)
def poisoned(
    request: pytest.FixtureRequest, sound: Path, tmp_path: Path
) -> Callable[[Callable[[Config], None]], Path]:
    """Copies the model in one of its formats and changes the configuration in it."""
    source, path = sound / request.param, tmp_path / request.param

    def poison(change: Callable[[Config], None]) -> Path:
        shutil.copytree(source, path) if source.is_dir() else shutil.copy(source, path)
        FORMATS[request.param](path, change)
        return path

    return poison


@pytest.mark.parametrize("name", FORMATS)
def test_a_sound_model_is_read_in_each_format(sound: Path, name: str):
    _, info = legacy.load(sound / name)
    assert info.shape == (8, 8, 3)


@pytest.mark.parametrize("wrap", WRAPPED)
@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_on_the_list_is_refused_before_keras_reads_it(
    poisoned: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, name: str, wrap: str
):
    bad = WRAPPED[wrap](HOSTILE[name])
    path = poisoned(lambda config: config["config"]["layers"].append(bad))
    monkeypatch.setattr(tf_keras.models, "load_model", None)  # would be no ValueError
    with pytest.raises(ValueError, match="only layers, initializers, regularizers") as refused:
        legacy.load(path)
    assert "Sequential" not in str(refused.value)  # the wrapping itself is sound


def test_how_a_model_inside_another_was_trained_is_not_made(poisoned: Callable[..., Path]):
    def change(config: Config) -> None:
        inner = next(e for e in config["config"]["layers"] if e["class_name"] == "Sequential")
        inner["compile_config"] = {"optimizer": layer("system", "os")}

    with pytest.raises(ValueError, match="'system', module 'os'"):
        legacy.load(poisoned(change))


def test_an_h5_file_has_no_training_that_its_reader_would_make(sound: Path, tmp_path: Path):
    path = Path(shutil.copy(sound / "model.h5", tmp_path))
    poison_h5(path, lambda config: config.update(compile_config={"loss": SYSTEM}))
    with pytest.raises(ValueError, match="'function', module 'os'"):
        legacy.load(path)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\xff"])
def test_a_configuration_that_is_no_json_is_named(sound: Path, tmp_path: Path, text: str):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(sound / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    write_archive(path, members | {"config.json": text.encode("latin-1")})
    with pytest.raises(ValueError, match=r"the configuration in .*model\.keras is no JSON"):
        legacy.load(path)


def test_an_archive_holds_a_network_and_nothing_else(sound: Path, tmp_path: Path):
    path = Path(shutil.copy(sound / "model.keras", tmp_path))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assets/vocabulary.txt", "cat")
    with pytest.raises(ValueError, match=r"holds 'assets/vocabulary\.txt': a network is config"):
        legacy.load(path)


def external_link(file: h5py.File, secret: Path) -> None:
    file["stolen"] = h5py.ExternalLink(str(secret), "/numbers")


def external_storage(file: h5py.File, secret: Path) -> None:
    file.create_dataset("deep/stolen", (2,), "f4", external=[(str(secret), 0, 8)])


def virtual_dataset(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "numbers", (2,))
    file.create_virtual_dataset("deep/stolen", layout)


@pytest.mark.parametrize("steal", [external_link, external_storage, virtual_dataset])
@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_weights_come_from_the_file_itself(
    sound: Path, tmp_path: Path, name: str, steal: Callable[[h5py.File, Path], None]
):
    secret, path = tmp_path / "secret.h5", tmp_path / name
    with h5py.File(secret, "w") as file:
        file["numbers"] = np.ones(2, "f4")
    shutil.copy(sound / name, path)
    if name == "model.h5":
        with h5py.File(path, "r+") as file:
            steal(file, secret)
    else:
        with zipfile.ZipFile(path) as archive:
            members = {member: archive.read(member) for member in archive.namelist()}
        weights = io.BytesIO(members["model.weights.h5"])
        with h5py.File(weights, "r+") as file:
            steal(file, secret)
        write_archive(path, members | {"model.weights.h5": weights.getvalue()})
    with pytest.raises(ValueError, match="another file"):
        legacy.load(path)


@pytest.mark.parametrize(
    "operation",
    ["WriteFile", "ReadFile", "PyFunc", "PyFuncStateless", "DebugIdentityV2", "NoSuchOperation",
     "InitializeTableFromTextFileV2", "DecodeProtoV2", "TextLineDataset", "PrintV2"],
)  # fmt: skip
def test_a_graph_reaches_no_files_and_no_python(sound: Path, tmp_path: Path, operation: str):
    path = shutil.copytree(sound / "model", tmp_path / "model")
    model = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    model.meta_graphs[0].graph_def.library.function[0].node_def.add(name="x", op=operation)
    (path / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=f"has the operation {operation}, which reaches beyond"):
        legacy.load(path)


def test_the_list_names_what_keras_2_has():
    unknown = {
        kind: [name for name in names if not hasattr(getattr(tf_keras, kind), name)]
        for kind, names in allowlist.KINDS.items()
    }
    assert unknown.pop("models") == ["Functional"]  # what Model(inputs, outputs) makes
    assert not any(unknown.values()), unknown
    assert allowlist.ACTIVATIONS - {"relu6"} <= set(dir(tf_keras.activations))
