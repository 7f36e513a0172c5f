"""What people really have in their folders: broken, odd and hostile files, all of them real."""

import io
import struct
import zlib
from typing import Literal

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipeline import DataConfig, load, preprocess
from pipeline.sources import open_source
from pipeline.sources.examination import decoding_problem
from pipeline.sources.source import quarantined

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def encode(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def huge_png(side: int) -> bytes:
    """A valid PNG header and almost nothing behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


GOOD = {
    "cmyk.jpg": encode(Image.fromarray(RGB).convert("CMYK"), "JPEG"),
    "grey16.png": encode(Image.fromarray(RGB[..., 0].astype(np.uint16) * 257), "PNG"),
    "palette.png": encode(Image.fromarray(RGB).convert("P"), "PNG"),
    "transparent.png": encode(Image.fromarray(RGB).convert("RGBA"), "PNG"),
    "one_bit.png": encode(Image.fromarray(RGB).convert("1"), "PNG"),
    "moving.gif": encode(
        Image.fromarray(RGB).convert("P"),
        "GIF",
        save_all=True,
        append_images=[Image.fromarray(255 - RGB).convert("P")],
    ),
    "web.webp": encode(Image.fromarray(RGB), "WEBP"),
    "bitmap.bmp": encode(Image.fromarray(RGB), "BMP"),
    "progressive.jpg": encode(Image.fromarray(RGB), "JPEG", progressive=True),
}
BAD = {
    "truncated.jpg": (encode(Image.fromarray(RGB), "JPEG")[:900], "Invalid JPEG data"),
    "text.jpg": (b"these are words", "no image"),
    "empty.png": (b"", "empty file"),
    "bomb.png": (huge_png(12_000), "more than 64,000,000 pixels"),
    "larger_bomb.png": (huge_png(30_000), "more than 64,000,000 pixels"),
    "cut_header.png": (b"\x89PNG\r\n\x1a\n", "PNG"),
}


@pytest.mark.parametrize("name", GOOD)
def test_every_usual_kind_of_file_decodes(name):
    assert decoding_problem(GOOD[name]) is None
    for channels in (1, 3):
        pixels = preprocess.decode(tf.constant(GOOD[name]), (8, 8), channels)
        assert (pixels.shape, pixels.dtype) == ((8, 8, channels), tf.uint8)


def test_sixteen_bits_keep_their_upper_half():
    assert np.array_equal(preprocess.decode(GOOD["grey16.png"], None, 1)[..., 0], RGB[..., 0])


def test_a_gif_gives_its_first_frame():
    first = np.asarray(Image.open(io.BytesIO(GOOD["moving.gif"])).convert("RGB"))
    assert np.array_equal(preprocess.decode(GOOD["moving.gif"], None, 3), first)


@pytest.mark.parametrize("name", BAD)
def test_broken_files_say_what_is_wrong_with_them(name):
    encoded, reason = BAD[name]
    assert reason in (decoding_problem(encoded) or "")


def test_broken_files_are_set_aside_and_the_rest_is_used(tmp_path, data_dir):
    for label in ("정상", "녹내장"):
        (tmp_path / label).mkdir()
        for name, encoded in GOOD.items():
            (tmp_path / label / name).write_bytes(encoded)
    for name, (encoded, _) in BAD.items():
        (tmp_path / "정상" / name).write_bytes(encoded)
    builder = open_source(f"folder:{tmp_path}", data_dir)
    assert builder.info.splits["train"].num_examples == 2 * len(GOOD)
    listed = {entry["key"]: entry["reason"] for entry in quarantined(builder)}
    assert listed.keys() == {f"정상/{name}" for name in BAD}
    again = open_source(f"folder:{tmp_path}", data_dir)  # prepared before: the list is kept with it
    assert quarantined(again) == quarantined(builder)
    config = DataConfig(
        source=f"folder:{tmp_path}", data_dir=str(data_dir), image_size=(16, 16), channels=3
    )
    data = load(config, batch_size=4)
    assert data.info.class_names == ("녹내장", "정상")
    assert sum(data.info.counts.values()) == 18


def test_two_spellings_of_one_name_are_one_class(tmp_path, data_dir):
    """macOS stores Korean decomposed."""
    import unicodedata

    forms: dict[str, Literal["NFC", "NFD"]] = {"train": "NFC", "test": "NFD"}
    for split, form in forms.items():
        for label in ("정상", "녹내장"):
            directory = tmp_path / split / unicodedata.normalize(form, label)
            directory.mkdir(parents=True)
            for i in range(3):
                pixels = np.full((4, 4), i * 20 + len(split), np.uint8)
                Image.fromarray(pixels).save(directory / f"{i}.png")
    builder = open_source(f"folder:{tmp_path}", data_dir)
    assert builder.info.features["label"].names == ["녹내장", "정상"]
    assert builder.info.splits["test"].num_examples == 6


def test_keras_style_arrays_are_taken(tmp_path, data_dir):
    x = np.random.default_rng(0).integers(0, 256, (12, 6, 5), dtype=np.uint8)
    y = np.arange(12, dtype=np.uint8) % 3
    np.savez(tmp_path / "m.npz", x_train=x[:9], y_train=y[:9], x_test=x[9:], y_test=y[9:])
    config = DataConfig(source=f"npz:{tmp_path / 'm.npz'}", data_dir=str(data_dir), channels=1)
    data = load(config)
    assert (data.info.shape, data.info.num_classes) == ((6, 5, 1), 3)
    images, labels = next(iter(data.test))
    assert {i.tobytes() for i in images.numpy()} == {
        (image[..., None] / np.float32(255)).astype(np.float32).tobytes() for image in x[9:]
    }
    assert sorted(labels.numpy()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros(3)}, "x_train and y_train are needed"),
        ({"x_train": np.zeros((2, 4, 4))}, r"x_train of .* is float64 \[2, 4, 4, 1\]"),
        ({"x_train": np.zeros((2, 4, 4), np.uint8)}, "y_train of .* for each of the 2 images"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, data_dir, arrays, message):
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        open_source(f"npz:{tmp_path / 'm.npz'}", data_dir)


@pytest.mark.parametrize("compression", ["GZIP", ""])
@pytest.mark.parametrize("named", [True, False])
def test_records_of_tfx_are_taken(tmp_path, data_dir, compression, named):
    for split, count in (("Split-train", 8), ("Split-eval", 4)):
        (tmp_path / split).mkdir()
        path = str(tmp_path / split / "data_tfrecord-00000-of-00001.gz")
        with tf.io.TFRecordWriter(path, compression) as writer:
            for i in range(count):
                writer.write(example(i, ["cat", "dog"][i % 2] if named else i % 2))
    builder = open_source(f"tfrecord:{tmp_path}/*/*", data_dir)
    assert builder.info.features["label"].names == (["cat", "dog"] if named else ["0", "1"])
    assert builder.info.splits["train"].num_examples == 8
    assert builder.info.splits["validation"].num_examples == 4


def test_globs_name_the_split_of_files_that_do_not_say_it(tmp_path, data_dir):
    for name, count in (("a=1", 8), ("b", 4)):
        with tf.io.TFRecordWriter(str(tmp_path / name)) as writer:
            for i in range(count):
                writer.write(example(i, i % 2))
    builder = open_source(f"tfrecord:train={tmp_path}/a*,eval={tmp_path}/b", data_dir)
    sizes = {name: split.num_examples for name, split in builder.info.splits.items()}
    assert sizes == {"train": 8, "validation": 4}
    swapped = open_source(f"tfrecord:eval={tmp_path}/a*,train={tmp_path}/b", data_dir)
    assert swapped.info.splits["train"].num_examples == 4


def test_a_glob_that_matches_nothing_is_named(tmp_path, data_dir):
    with pytest.raises(ValueError, match="no file matches .*none"):
        open_source(f"tfrecord:{tmp_path}/none*", data_dir)


def test_a_file_that_holds_no_records_is_named(tmp_path, data_dir):
    (tmp_path / "x").write_bytes(b"not a record" * 10)
    with pytest.raises(ValueError, match="damaged or no TFRecord file"):
        open_source(f"tfrecord:{tmp_path}/x", data_dir)


def example(number: int, label: int | str) -> bytes:
    pixels = np.full((4, 4, 3), number, np.uint8)
    image = tf.train.Feature(
        bytes_list=tf.train.BytesList(value=[encode(Image.fromarray(pixels), "PNG")])
    )
    if isinstance(label, int):
        target = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
    else:
        target = tf.train.Feature(bytes_list=tf.train.BytesList(value=[label.encode()]))
    features = tf.train.Features(feature={"image": image, "label": target})
    return tf.train.Example(features=features).SerializeToString()
