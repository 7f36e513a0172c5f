"""The listed costs are those that are counted."""

import pytest

from trainer import flops, zoo
from trainer.zoo.costs import COSTS

QUICK = ["mlp", "mlp_wide", "mnist_cnn", "alexnet", "cnn_s", "vgg19", "googlenet", "resnet18"]


def test_every_network_has_its_costs_listed_in_the_registrys_order():
    assert list(COSTS) == list(zoo.MODELS)


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in zoo.MODELS],
)
def test_listed_costs_are_counted_again(name):
    shape = (
        {"features": 4, "num_classes": 3}
        if zoo.MODELS[name].takes == "features"
        else {"image_size": (224, 224)}
    )
    cost = flops.estimate(lambda: zoo.build(name, **shape))
    assert COSTS[name] == (cost.parameters, cost.multiply_adds)
