"""Diagrams show every layer once, no box over another, joined as the network is."""

import pytest
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from trainer import diagram, flops, zoo


def draw(name, side=64, **options):
    def drawing():
        size = (side, side)
        model = zoo.build(name, image_size=size, features=4, num_classes=5, **options)
        return diagram.draw(model)

    return flops.without_weights(drawing)


def patches(figure, kind):
    return [patch for patch in figure.axes[0].patches if isinstance(patch, kind)]


@pytest.mark.parametrize("name", ["mlp_wide", "lenet5", "googlenet", "se_resnet18"])
def test_boxes_do_not_overlap(name):
    figure = draw(name)
    corners = sorted((box.get_x(), box.get_y()) for box in patches(figure, FancyBboxPatch))
    width, height = diagram.BOX
    for i, (x, y) in enumerate(corners):
        for other_x, other_y in corners[i + 1 :]:
            assert other_x >= x + width or abs(other_y - y) >= height


def test_a_box_says_name_kinds_size_and_parameters():
    figure = draw("lenet5", 32, batch_norm=True)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "conv1\nConv2D 5×5 · BatchNorm · sigmoid\n28×28×6   474" in texts
    assert "conv1_pool\nAveragePooling2D\n14×14×6" in texts


def test_every_connection_between_boxes_is_drawn():
    figure = draw("mlp_wide")
    assert len(patches(figure, FancyBboxPatch)) == 1 + 3 + 1 + 1
    assert len(patches(figure, FancyArrowPatch)) == 3 + 3 + 1


def test_long_networks_go_on_to_the_right():
    short = draw("resnet18")
    long = draw("resnet34")
    assert long.get_figheight() <= (diagram.ROWS + 1) * diagram.STEP[1]
    assert long.get_figwidth() > 1.9 * short.get_figwidth()


def test_a_diagram_is_saved_as_a_picture(tmp_path):
    figure = draw("googlenet", 32, auxiliary=True)
    figure.savefig(tmp_path / "network.png")
    assert (tmp_path / "network.png").read_bytes().startswith(b"\x89PNG")
