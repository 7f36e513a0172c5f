"""Manifests of image files, as spreadsheets and scripts write them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import DataConfig
from pipeline.dataset import open_data
from pipeline.sources import open_source


@pytest.fixture
def images(tmp_path) -> list[Path]:
    """Six PNG files."""
    paths = [tmp_path / "images" / f"{i}.png" for i in range(6)]
    paths[0].parent.mkdir()
    for i, path in enumerate(paths):
        Image.fromarray(np.full((5, 5, 3), i * 30, np.uint8)).save(path)
    return paths


def manifest(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    return f"csv:{path}"


def job_data(source: str, data_dir: Path) -> DataConfig:
    return DataConfig(source=source, data_dir=str(data_dir), image_size=(5, 5))


def test_a_manifest_names_files_labels_and_splits(images, tmp_path, data_dir):
    lines = [f"images/{i}.png,{'ab'[i % 2]},{'train' if i < 4 else 'test'}" for i in range(6)]
    source = manifest(tmp_path / "list.csv", "path,label,split", *lines)
    builder = open_source(source, data_dir)
    assert {name: s.num_examples for name, s in builder.info.splits.items()} == {
        "train": 4,
        "test": 2,
    }
    assert builder.info.features["label"].names == ["a", "b"]


def test_further_columns_are_metadata_in_the_order_of_the_examples(images, tmp_path, data_dir):
    lines = [
        f"images/{i}.png,{'ab'[i % 2]},dev-{i},{'train' if i > 2 else 'test'}" for i in range(6)
    ]
    lines += ["images/5.png,a,,train"]
    source = manifest(tmp_path / "list.csv", "path,label,device,split", *lines)
    config = job_data(source, data_dir)
    test = open_data(config).slices["test"]
    assert test.columns() == ("device",)
    devices = test.metadata(("device",))["device"]
    files = [example["key"].decode() for example in test.read().as_numpy_iterator()]
    assert list(devices) == [f"dev-{Path(file).stem}" for file in files]
    changed = [line.replace("dev-0", "dev-9") for line in lines]
    other = manifest(tmp_path / "other.csv", "path,label,device,split", *changed)
    again = open_data(config.model_copy(update={"source": other})).slices["test"]
    assert set(again.metadata(("device",))["device"]) == {"dev-9", "dev-1", "dev-2"}


def test_a_manifest_without_further_columns_has_no_metadata(images, tmp_path, data_dir):
    lines = [f"images/{i}.png,{'ab'[i % 2]}" for i in range(6)]
    source = manifest(tmp_path / "list.csv", "path,label", *lines)
    test = open_data(job_data(source, data_dir)).slices["test"]
    assert test.columns() == ()
    assert test.metadata(()) == {}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,label", "x,y"], "has no column path"),
        (["path,label", "images/9.png,a"], r"list\.csv:2: there is no file .*9\.png"),
        (["path,label", "images/0.png,"], r"list\.csv:2 has no label"),
        (["path,label,split", "images/0.png,a,dev"], "split is 'dev'; allowed: train, validation"),
        (["path,label", "images/0.png,a"], "at least 2 classes in train, found a"),
        (["path,label", ""], "at least 2 classes in train, found none"),
        (
            ["path,label", "images/0.png,a,b"],
            r"list\.csv:2 has 3 fields, the header 2",
        ),
        (["path,label,split", "images/0.png,a"], r"list\.csv:2 has 2 fields, the header 3"),
        (["path,label", 'images/0.png,"a', "images/1.png,b"], r"list\.csv:3: unexpected end"),
        (["path,label,device,device", "images/0.png,a,b,c"], "has two columns device"),
        (["path;label", "images/0.png;a"], r"has no column label, path; its first line, with comm"),
        (["path,label,key", "images/0.png,a,7"], "has a column named key, which prepared examples"),
    ],
)
def test_a_wrong_manifest_is_told_by_its_line(images, tmp_path, data_dir, lines, message):
    with pytest.raises(ValueError, match=message):
        open_source(manifest(tmp_path / "list.csv", *lines), data_dir)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp949"])
def test_a_manifest_is_read_as_korean_spreadsheets_save_it(images, tmp_path, data_dir, encoding):
    lines = ["path,label", *(f"images/{i}.png,{('고양이', '개')[i % 2]}" for i in range(6))]
    (tmp_path / "list.csv").write_bytes("\r\n".join(lines).encode(encoding))
    builder = open_source(f"csv:{tmp_path / 'list.csv'}", data_dir)
    assert builder.info.features["label"].names == ["개", "고양이"]


def test_a_manifest_in_another_encoding_is_refused_by_name(images, tmp_path, data_dir):
    (tmp_path / "list.csv").write_bytes("path,label\nimages/0.png,café\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"list\.csv is neither UTF-8 nor UTF-16 nor CP949"):
        open_source(f"csv:{tmp_path / 'list.csv'}", data_dir)
