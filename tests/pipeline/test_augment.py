import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from pipeline import DataConfig, affine, load
from pipeline.augment import Augment
from pipeline.augment_config import AugmentConfig
from pipeline.dataset import Splits
from pipeline.warp import Size
from tests.support.forkserver import ForkServer

EVERYTHING = {
    "rotation_range": 20,
    "width_shift_range": 0.2,
    "height_shift_range": [-1, 0, 1],
    "shear_range": 10,
    "zoom_range": 0.2,
    "channel_shift_range": 30,
    "brightness_range": [0.7, 1.3],
    "fill_mode": "reflect",
    "horizontal_flip": True,
    "vertical_flip": True,
    "random_crop": [18, 20],
    "mixup": 0.2,
    "cutmix": 1.0,
    "random_erasing": 0.5,
}
MANY = {field: value for field, value in EVERYTHING.items() if field != "random_crop"}
RAND_AUGMENT = {"rand_augment": 0.5}  # takes seconds to trace: eleven layers of Keras, twice
UNSEEN = {"fill_mode", "random_crop"}  # not on their own, or not on images of the final size
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
LABELS = np.arange(40) % 10
SEED = tf.constant([3, 4], tf.int64)

WRITE_BATCHES = """
import json, sys
from pipeline import DataConfig, load
with open(sys.argv[2], "wb") as file:
    data = load(DataConfig(**json.loads(sys.argv[1])), 100)
    for images, labels in data.train_epochs(3).skip(11).take(3):
        file.write(images.numpy().tobytes() + labels.numpy().tobytes())
"""


@pytest.fixture(scope="module")
def changed(data_dir) -> Splits:
    """Digits to which everything is done that takes no time to trace."""
    return load(config(data_dir, 0, **EVERYTHING), 100)


def config(data_dir, seed: int = 0, **augment) -> DataConfig:
    return DataConfig(
        source="digits",
        data_dir=str(data_dir),
        image_size=(16, 16),
        seed=seed,
        augment=AugmentConfig.model_validate(augment),
    )


def augmented(images=IMAGES, seed=SEED, **settings):
    augment = Augment(AugmentConfig.model_validate(settings), images.shape[1:], 10)
    return augment(tf.constant(images), tf.constant(LABELS), seed)


def moves(source: tuple[int, int] = (40, 60), **settings) -> affine.Moves:
    """Moves of 2,000 images, to be shown at 40x60."""
    config = AugmentConfig.model_validate(settings)
    return affine.draw(config, SEED, 2000, Size(*source), Size(40, 60))


def last_and_first(data: Splits) -> bytes:
    """The last batch of an epoch and the first two of the next."""
    batches = data.train_epochs(3).skip(11).take(3)
    return b"".join(i.numpy().tobytes() + n.numpy().tobytes() for i, n in batches)


def test_the_same_seed_gives_the_same_bytes_in_two_processes(
    data_dir, tmp_path, forkserver: ForkServer
):
    job = config(data_dir, 0, **EVERYTHING, **RAND_AUGMENT)
    command = ("-c", WRITE_BATCHES, job.model_dump_json(), str(tmp_path / "theirs"))
    with forkserver.start(*command) as process:
        ours = last_and_first(load(job, 100))
        assert process.wait() == 0, process.communicate()
    assert len(ours) == 3 * 100 * (16 * 16 * 3 + 10) * 4
    assert ours == (tmp_path / "theirs").read_bytes()


def test_another_seed_gives_other_bytes(data_dir):
    settings = [config(data_dir, seed, brightness_range=[0.7, 1.3]) for seed in (0, 1)]
    one, other = (last_and_first(load(each, 100)) for each in settings)
    assert len(one) == len(other)
    assert one != other
    images = [augmented(seed=tf.constant([seed, 4], tf.int64), **MANY)[0] for seed in (0, 1)]
    assert not np.array_equal(*images)


def test_any_epoch_can_be_started_from(changed):
    assert changed.steps_per_epoch == 12
    one = [images.numpy() for images, _ in changed.train_epochs(0).take(14)][12:]
    other = [images.numpy() for images, _ in changed.train_epochs(1).take(2)]
    assert np.array_equal(one, other)


def test_an_image_is_changed_anew_in_every_epoch(data_dir):
    data = load(config(data_dir, rotation_range=30, width_shift_range=0.1), 1296)
    first, second = (images.numpy() for images, _ in data.train_epochs(0).take(2))
    same = {image.tobytes() for image in first} & {image.tobytes() for image in second}
    assert len(same) < 13


@pytest.mark.parametrize(
    ("field", "value"),
    [pair for pair in (EVERYTHING | RAND_AUGMENT).items() if pair[0] not in UNSEEN],
)
def test_each_field_changes_images_by_itself(field, value):
    images, labels = augmented(**{field: value})
    changed = np.any(images.numpy() != IMAGES, axis=(1, 2, 3))
    assert images.shape == IMAGES.shape
    assert changed.mean() > 0.1
    assert images.numpy().min() >= 0
    assert images.numpy().max() <= 255
    assert labels.shape == ((40, 10) if field in {"mixup", "cutmix"} else (40,))


def test_nothing_set_changes_nothing():
    images, labels = augmented()
    assert np.array_equal(images, IMAGES)
    assert np.array_equal(labels, LABELS)


def test_grey_images_are_changed_too():
    settings = {n: v for n, v in (EVERYTHING | RAND_AUGMENT).items() if n != "random_crop"}
    augment = Augment(AugmentConfig.model_validate(settings), (16, 16, 1), 10)
    grey = tf.constant(IMAGES[..., :1])
    for number in range(6):  # RandAugment draws other operations each time
        images, _ = augment(grey, tf.constant(LABELS), tf.constant([number, 0], tf.int64))
        assert images.shape == (40, 16, 16, 1)


@pytest.mark.parametrize("settings", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 1, "cutmix": 1}])
def test_mixed_labels_are_shares_of_the_two_classes_mixed(settings):
    shares = augmented(**settings)[1].numpy()
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert shares.min() >= 0
    own = shares[np.arange(40), LABELS]
    assert np.count_nonzero(shares, axis=1).max() == 2
    assert 0.2 < own.mean() < 0.999


def test_mixup_mixes_images_by_the_shares_of_their_labels():
    flat = np.repeat(LABELS.astype(np.uint8) * 20, 16 * 16 * 3).reshape(IMAGES.shape)
    images, shares = augmented(flat, mixup=1.0)
    assert np.allclose(images[:, 0, 0, 0], shares.numpy() @ np.arange(0, 200, 20), atol=1e-3)


def test_cutmix_gives_each_class_the_share_of_its_pixels():
    flat = np.repeat(LABELS.astype(np.uint8) * 20, 16 * 16 * 3).reshape(IMAGES.shape)
    images, shares = augmented(flat, cutmix=1.0)
    means = images.numpy().mean(axis=(1, 2, 3))
    assert np.allclose(means, shares.numpy() @ np.arange(0, 200, 20), atol=24)  # whole pixels


def test_limits_are_read_as_image_data_generator_reads_them():
    shares = moves(width_shift_range=0.2, height_shift_range=0.1)
    assert np.abs(shares.right).max() == pytest.approx(12, abs=0.1)  # of 60 columns
    assert np.abs(shares.down).max() == pytest.approx(4, abs=0.1)  # of 40 rows
    whole = moves(width_shift_range=3, height_shift_range=2.5)
    assert sorted(set(np.abs(whole.right.numpy()))) == [0, 1, 2]
    assert np.abs(whole.down).max() == pytest.approx(2.5, abs=0.05)
    listed = moves(width_shift_range=[5, 7], height_shift_range=[0.1, 0.5])
    assert set(listed.right.numpy()) == {-7, -5, 5, 7}
    assert set(np.round(listed.down.numpy())) == {-20, -4, 4, 20}
    turned = moves(rotation_range=90, shear_range=45, zoom_range=[0.5, 0.8])
    assert np.degrees(turned.angle).min() == pytest.approx(-90, abs=0.5)
    assert np.degrees(turned.shear).max() == pytest.approx(45, abs=0.5)
    assert (turned.zoom_x.numpy().min(), turned.zoom_y.numpy().max()) == pytest.approx(
        (0.5, 0.8), abs=0.01
    )
    assert moves(horizontal_flip=True).flip_x.numpy().mean() == pytest.approx(0.5, abs=0.05)
    assert moves(horizontal_flip=True).flip_y.numpy().max() == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"rotation_range": 360},
        {"rotation_range": -720},
        {"shear_range": 90},
        {"shear_range": 270},
        {"zoom_range": 1.0},
        {"zoom_range": [0, 3]},
        {"zoom_range": [0.5, 40]},
        {"width_shift_range": -0.2},
        {"width_shift_range": [-10, 0, 10]},
        {"height_shift_range": 300},
        {"height_shift_range": -3},
        {"channel_shift_range": 300},
        {"brightness_range": [0.5, 8]},
    ],
    ids=str,
)
def test_values_that_image_data_generator_takes_are_taken(settings):
    images, _ = augmented(fill_mode="reflect", **settings)
    assert images.shape == IMAGES.shape
    assert np.any(images.numpy() != IMAGES)


def test_whole_numbers_below_zero_are_read_as_image_data_generator_reads_them():
    """NumPy cannot choose from -3 numbers, and Keras then takes it for a share of the image."""
    shifted = moves(width_shift_range=-3)
    assert np.abs(shifted.right).max() == pytest.approx(3 * 60, rel=0.01)


def test_places_too_far_outside_an_image_to_be_counted_are_refused():
    with pytest.raises(ValueError, match="together reach 40,032 pixels beyond an image of 16x16"):
        augmented(width_shift_range=[40_000])
    with pytest.raises(ValueError, match="zoom_range"):
        augmented(zoom_range=[1, 2000])


def test_random_windows_reach_every_place():
    placed = moves((42, 60))
    assert sorted(set(placed.top.numpy())) == [0, 1, 2]
    assert set(placed.left.numpy()) == {0}


def test_only_training_is_augmented(data_dir, changed):
    plain = load(config(data_dir), 100)
    for split in ("validation", "test"):
        pairs = zip(getattr(plain, split), getattr(changed, split), strict=True)
        assert all(np.array_equal(one[0], other[0]) for one, other in pairs)
    assert changed.train.element_spec[1].shape == (100, 10)
    assert changed.test.element_spec[1].shape == (None,)


def test_samples_show_images_before_and_after(changed):
    samples = changed.sample(5)
    assert samples.originals.shape == (5, 18, 20, 3)
    assert samples.augmented.shape == (5, 16, 16, 3)
    assert samples.augmented.dtype == np.uint8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"zoom_range": [1.2, 0.8]}, r"zoom_range \[1\.2, 0\.8\]: expected \[low, high\]"),
        ({"brightness_range": [-1, 1]}, "expected .low, high. with 0 <= low"),
        ({"zoom_range": 1.5}, "less than or equal to 1"),
        ({"rotation_range": float("inf")}, "finite number"),
        ({"fill_mode": "mirror"}, "'constant', 'nearest', 'reflect' or 'wrap'"),
        ({"rotation": 3}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_say_what_is_allowed(settings, message):
    with pytest.raises(ValidationError, match=message):
        AugmentConfig.model_validate(settings)


def test_fields_that_do_not_suit_the_data_are_named(data_dir):
    iris = DataConfig(
        source="iris", data_dir=str(data_dir), augment=AugmentConfig(mixup=0.2, rotation_range=5)
    )
    with pytest.raises(ValueError, match="mixup, rotation_range would change images, and"):
        load(iris)
    with pytest.raises(ValueError, match=r"random_crop \[8, 20\] is smaller than the images"):
        load(config(data_dir, random_crop=(8, 20)))


def test_validation_split_is_another_name_for_validation_fraction():
    split = {"source": "digits", "augment": {"validation_split": 0.25}}
    resolved = DataConfig(**split)
    assert resolved.validation_fraction == 0.25
    assert DataConfig(**resolved.model_dump()) == resolved
    with pytest.raises(ValidationError, match="two names for one share"):
        DataConfig(**split, validation_fraction=0.1)
