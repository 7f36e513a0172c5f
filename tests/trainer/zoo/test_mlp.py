"""The perceptrons have the course's sizes and can vary in depth, width and normalisation."""

import pytest

from trainer import zoo


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("mlp", {}, 403),
        ("mlp", {"units": [50, 30], "activation": "sigmoid"}, 1_873),
        ("mlp_wide", {}, 1_283),
    ],
)
def test_iris_networks_have_the_printed_parameters(name, options, parameters):
    assert zoo.build(name, features=4, num_classes=3, **options).count_params() == parameters


@pytest.mark.parametrize(
    ("options", "widths"),
    [
        ({"units": 16, "hidden_layers": 3}, [16, 16, 16]),
        ({"units": [64, 32, 16], "hidden_layers": 2}, [64, 32]),
        ({"units": 8}, [8]),
        ({"units": []}, []),
    ],
)
def test_a_search_can_vary_depth_apart_from_width(options, widths):
    model = zoo.build("mlp", features=4, num_classes=3, **options)
    hidden = [
        layer.units
        for layer in model.layers
        if layer.name.startswith("hidden") and hasattr(layer, "units")
    ]
    assert hidden == widths


def test_more_layers_than_widths_is_refused():
    with pytest.raises(ValueError, match="hidden_layers = 3 needs as many numbers in units"):
        zoo.check_options("mlp", {"units": [8, 8], "hidden_layers": 3})


def test_normalisation_and_dropout_come_with_every_hidden_layer():
    model = zoo.build("mlp", features=4, num_classes=3, units=[8, 8], batch_norm=True, dropout=0.2)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("BatchNormalization") == kinds.count("Dropout") == 2


def test_a_vector_network_needs_the_length_of_its_vectors():
    with pytest.raises(ValueError, match="features must be the length of the input vectors"):
        zoo.build("mlp", image_size=(28, 28), num_classes=3)
