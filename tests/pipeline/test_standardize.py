import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.preprocessing.image import ImageDataGenerator

from pipeline import DataConfig, load
from pipeline.augment_config import AugmentConfig
from pipeline.standardize import MOST_WHITENED, Preparation, fit

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(120, 30, (80, 6, 5, 3)).clip(0, 255).astype(np.uint8)
NEW = RANDOM.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)


def fitted(images: np.ndarray = IMAGES, **settings) -> Preparation:
    config = AugmentConfig(**settings)
    unfitted = Preparation(images.shape[1:], "unit", "antialias", config)
    return fit(unfitted, [tf.constant(images[:50]), tf.constant(images[50:])])


@pytest.mark.parametrize(
    "settings",
    [
        {"featurewise_center": True},
        {"featurewise_center": True, "featurewise_std_normalization": True},
        {"samplewise_center": True},
        {"samplewise_center": True, "samplewise_std_normalization": True},
        {"featurewise_center": True, "zca_whitening": True, "zca_epsilon": 1e-3},
        {"samplewise_center": True, "featurewise_center": True},
    ],
    ids=lambda settings: "+".join(settings),
)
@pytest.mark.parametrize("images", [IMAGES, IMAGES[:, :4, :2]], ids=["more values", "more images"])
def test_standardisation_is_that_of_image_data_generator(settings, images):
    generator = ImageDataGenerator(rescale=1 / 255, **settings)
    generator.fit(images)
    new = NEW[:, : images.shape[1], : images.shape[2]]
    theirs = [generator.standardize(image.astype("float32")) for image in new]
    ours = fitted(images, rescale=1 / 255, **settings)(tf.constant(new))
    assert np.allclose(ours, np.stack(theirs), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("one", "both"),
    [
        ("featurewise_std_normalization", "featurewise_center"),
        ("samplewise_std_normalization", "samplewise_center"),
        ("zca_whitening", "featurewise_center"),
    ],
)
def test_what_needs_centred_values_centres_them(one, both):
    alone = fitted(IMAGES, **{one: True})
    together = fitted(IMAGES, **{one: True, both: True})
    assert np.array_equal(alone(NEW), together(NEW))


def test_whitening_overrides_deviation():
    whitened = fitted(zca_whitening=True, featurewise_std_normalization=True)
    assert whitened.deviation is None


def test_rescale_takes_the_place_of_the_models_scaling():
    assert np.allclose(fitted(rescale=0.5)(NEW), NEW * 0.5)
    assert np.allclose(fitted()(NEW), NEW / 255)


def test_whitening_of_large_images_is_refused_before_it_fills_the_memory():
    images = np.zeros((2, 33, 32, 3), np.uint8)
    with pytest.raises(ValueError, match=f"3168 values.*at most {MOST_WHITENED}"):
        fitted(images, zca_whitening=True)


def test_statistics_come_from_the_training_split_and_hold_for_all(data_dir):
    config = DataConfig(
        source="iris",
        data_dir=str(data_dir),
        augment=AugmentConfig(featurewise_std_normalization=True),
    )
    data, plain = load(config, 16), load(config.model_copy(update={"augment": AugmentConfig()}), 16)
    training = np.concatenate([rows for rows, _ in plain.train_epochs(0).take(6)])
    assert data.prepare.mean is not None
    assert data.prepare.deviation is not None
    assert np.allclose(data.prepare.mean, training.mean(axis=0), atol=0.05)  # 96 of 102 flowers
    for prepared, raw in zip(data.test, plain.test, strict=True):
        expected = (raw[0] - data.prepare.mean) / (data.prepare.deviation + 1e-6)
        assert np.allclose(prepared[0], expected, atol=1e-5)


def test_equal_data_have_equal_statistics_bit_for_bit(data_dir):
    augment = AugmentConfig(zca_whitening=True)
    config = DataConfig(source="digits", data_dir=str(data_dir), channels=1, augment=augment)
    one, other = load(config).prepare, load(config.model_copy(update={"seed": 5})).prepare
    for ours, theirs in ((one.mean, other.mean), (one.whitening, other.whitening)):
        assert ours is not None
        assert theirs is not None
        assert np.array_equal(ours, theirs)
