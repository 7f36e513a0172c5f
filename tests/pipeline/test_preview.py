import numpy as np
import pytest
from PIL import Image

from pipeline import DataConfig, load, preview


def digits(data_dir, **augment):
    config = {"source": "digits", "data_dir": str(data_dir), "channels": 1, "augment": augment}
    return load(DataConfig.model_validate(config), 50)


@pytest.fixture(scope="module")
def turned(data_dir):
    return digits(data_dir, rotation_range=30)


def test_originals_stand_left_of_what_became_of_them(data_dir):
    picture, samples = preview.draw(digits(data_dir, horizontal_flip=True), 5)
    pixels = np.asarray(picture.convert("L")).astype(int)
    assert len(samples.augmented) == 5
    side, margin = 96, preview.MARGIN
    for row in range(3):
        top = margin + row * (side + margin)
        left, right = (
            pixels[top : top + side, start : start + side] for start in (margin, side + 2 * margin)
        )
        assert np.array_equal(left, right) or np.array_equal(left[:, ::-1], right)
    assert not np.array_equal(samples.originals, samples.augmented)


def test_more_images_than_a_batch_holds_are_drawn_from_several(turned):
    _, samples = preview.draw(turned, 70)
    assert len(samples.originals) == len(samples.augmented) == 70
    assert len({image.tobytes() for image in samples.originals}) > 50  # a batch holds 50


def test_augmented_images_are_saved_one_by_one(turned, tmp_path):
    _, samples = preview.draw(turned, 3)
    preview.save_augmented(samples, tmp_path / "new" / "place")
    files = sorted((tmp_path / "new" / "place").iterdir())
    assert [file.name for file in files] == [f"augmented-00{i}.png" for i in range(3)]
    assert np.array_equal(np.asarray(Image.open(files[1])), samples.augmented[1, ..., 0])


def test_vectors_have_no_preview(data_dir):
    with pytest.raises(ValueError, match="no preview of iris: its examples are vectors"):
        preview.draw(load(DataConfig(source="iris", data_dir=str(data_dir))))
