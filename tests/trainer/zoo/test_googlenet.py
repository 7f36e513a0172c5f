"""GoogLeNet trains with two extra classifiers, and is whole without them."""

from functools import partial

import keras
import numpy as np
import pytest

from trainer import flops, zoo
from trainer.zoo.googlenet import VARIANTS


def build(side=64, **options):
    return zoo.build("googlenet", image_size=(side, side), num_classes=5, **options)


@pytest.mark.slow
def test_auxiliary_classifiers_train_with_the_papers_weights():
    model = build(auxiliary=True)
    loss = "sparse_categorical_crossentropy"
    model.compile(
        "sgd",
        loss=dict.fromkeys(model.output, loss),
        loss_weights=dict(VARIANTS["googlenet"].auxiliary_loss_weights),
    )
    images = keras.random.uniform((4, 64, 64, 3), seed=0)
    labels = np.arange(4)
    logs = model.train_on_batch(images, dict.fromkeys(model.output, labels), return_dict=True)
    total = logs["probabilities_loss"] + 0.3 * (logs["aux1_loss"] + logs["aux2_loss"])
    assert logs["loss"] == pytest.approx(total, rel=1e-5)


def test_the_network_without_auxiliaries_is_the_same_network():
    with_them, without = (
        flops.estimate(partial(build, 224, auxiliary=auxiliary)).layers
        for auxiliary in (True, False)
    )
    assert [line for line in with_them if not line.name.startswith("aux")] == list(without)


def test_on_small_images_the_auxiliary_pool_is_left_out():
    names = {line.name for line in flops.estimate(lambda: build(32, auxiliary=True)).layers}
    assert "aux1_conv" in names
    assert "aux1_pool" not in names


def test_naive_modules_pass_all_channels_on():
    lines = flops.estimate(lambda: build(modules="naive")).layers
    first = next(line for line in lines if line.name == "inception3a_concat")
    assert first.output_shape[-1] == 416
    assert not any(line.name.endswith("_reduce") for line in lines if "inception" in line.name)
