"""Records that Convoy writes for TFX, read back by the source that reads TFX's."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.config import DataConfig
from pipeline.dataset import open_data
from pipeline.sources.tfrecord import KEY, encode


def write(directory, data, names):
    """Write splits as an ExampleGen does: shuffled, in several shards."""
    order = np.random.default_rng(0)
    for name in names:
        (directory / f"Split-{name}").mkdir()
        records = []
        for example in data.slices[name].read().as_numpy_iterator():
            inputs = {key: example[key] for key in ("image", "features") if key in example}
            number = int(example["label"])
            texts = {KEY: example["key"].decode()}
            records.append(encode(inputs, number, data.info.class_names[number], texts))
        order.shuffle(records)
        for shard in range(3):
            path = directory / f"Split-{name}" / f"data_tfrecord-{shard:05}-of-00003.gz"
            with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
                for record in records[shard::3]:
                    writer.write(record)


@pytest.mark.parametrize("source", ["idx", "iris"])
def test_examples_come_back_in_the_order_of_their_source(tmp_path, idx_dir, data_dir, source):
    place = f"idx:{idx_dir}" if source == "idx" else source
    data = open_data(DataConfig(source=place, data_dir=str(data_dir)))
    write(tmp_path, data, ["train", "validation"])
    place = f"tfrecord:train={tmp_path}/Split-train/*,eval={tmp_path}/Split-validation/*"
    place += f",test={tmp_path}/Split-validation/*"
    again = open_data(DataConfig(source=place, data_dir=str(data_dir), image_size=(8, 8)))
    assert again.info.class_names == data.info.class_names
    trained = [d.slices["train"].read().as_numpy_iterator() for d in (data, again)]
    for before, after in zip(*trained, strict=True):
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_part_of_a_split_counts_within_it(data_dir):
    """Of iris, whose training part begins behind the others in the split that all are cut from."""
    whole = open_data(DataConfig(source="iris", data_dir=str(data_dir))).slices["train"]
    keys = [example["key"] for example in whole.read().as_numpy_iterator()]
    part = whole.part(5, 9)
    assert part.count == 4
    assert [example["key"] for example in part.read().as_numpy_iterator()] == keys[5:9]
