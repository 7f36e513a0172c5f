"""`convoy zoo` lists, shows and draws."""

import json

import pytest
from typer.testing import CliRunner

from jobs.commands.zoo import app
from jobs.exits import CommandError


def zoo(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, CommandError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_list_has_every_network_with_cost_input_and_paper():
    entries = {entry["name"]: entry for entry in json.loads(zoo("--json"))}
    assert len(entries) >= 69
    assert entries["vgg16"] == {
        "name": "vgg16",
        "parameters": 138_357_544,
        "multiply_adds": 15_470_264_320,
        "min_image_size": 32,
        "paper": "Simonyan, Zisserman 2014, Very deep convolutional networks",
    }
    assert "googlenet" in zoo()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["mlp"], {"parameters": 4 * 50 + 50 + 50 * 1000 + 1000}),
        (
            ["mlp", "--num-classes", 3, "--set", "units=[50, 30]", "--set", "activation=sigmoid"],
            {"parameters": 1_873, "min_image_size": None},
        ),
        (
            ["lenet5", "--image-size", 28, "--channels", 1, "--num-classes", 10],
            {"parameters": 44_426, "trainable_parameters": 44_426, "min_image_size": 16},
        ),
        (["resnet18"], {"trainable_parameters": 11_689_512, "multiply_adds": 1_814_073_344}),
    ],
)
def test_show_counts_what_it_is_asked_for(arguments, expected):
    shown = json.loads(zoo("show", *arguments, "--json"))
    assert expected.items() <= shown.items()
    assert set(shown) == {
        "name",
        "parameters",
        "trainable_parameters",
        "multiply_adds",
        "min_image_size",
        "paper",
    }


def test_show_prints_layers_and_options_and_draws_the_graph(tmp_path):
    picture = tmp_path / "lenet.png"
    text = zoo("show", "lenet5", "--image-size", 32, "--channels", 1, "--diagram", picture)
    assert "conv2" in text
    assert "10x10x16" in text
    assert "batch_norm" in text
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "lenet6"], "unknown model 'lenet6'. Did you mean 'lenet5'"),
        (["show", "lenet5", "--image-size", 8], r"\(8, 8\) is too small"),
        (["show", "lenet5", "--set", "activation"], "--set activation: expected OPTION=VALUE"),
        (["show", "lenet5", "--set", "activation=rely"], "option 'activation' got 'rely'"),
        (["filters", "nowhere", "image.png"], "nowhere is no run"),
    ],
)
def test_wrong_use_is_told_in_one_line(arguments, message):
    with pytest.raises(CommandError, match=message):
        zoo(*arguments)


def test_filters_and_feature_maps_of_a_run_are_drawn(published, tmp_path):
    from PIL import Image

    place, outcome = published
    image = tmp_path / "seven.png"
    Image.new("L", (20, 20), 200).save(image)
    run = place.path / outcome["run"]
    drawn = json.loads(zoo("filters", run, image, "--out", tmp_path / "pictures", "--json"))
    assert set(drawn) == {"filters", "feature_maps"}
    for path in drawn.values():
        with Image.open(path) as picture:
            assert picture.format == "PNG"
    (tmp_path / "note.png").write_text("text")
    with pytest.raises(CommandError, match=r"note.png is no image: expected JPEG"):
        zoo("filters", run, tmp_path / "note.png")
