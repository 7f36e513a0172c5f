import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from trainer.chapters.matrix import confusion
from trainer.evaluate import Evaluation, Predictions, score


def evaluation(num_classes: int, mistaken: int) -> Evaluation:
    """Ten examples a class; `mistaken` of class 1 are taken for class 0."""
    labels = np.repeat(np.arange(num_classes), 10)
    guesses = labels.copy()
    guesses[10 : 10 + mistaken] = 0
    names = tuple(f"class {n}" for n in range(num_classes))
    return score(Predictions(np.eye(num_classes, dtype=np.float32)[guesses], labels), names)


def test_few_classes_are_counted_cell_by_cell():
    html = confusion(evaluation(3, mistaken=4)).html
    assert len(re.findall('class="hit', html)) == 3
    [mistake] = re.findall(r'class="miss" style="--share:([\d.]+)">(\d+)<', html)
    assert mistake == ("0.40", "4")


def test_many_classes_are_a_picture_and_the_pairs_confused_most():
    html = confusion(evaluation(40, mistaken=4)).html
    [encoded] = re.findall(r"base64,([^\"]+)", html)
    png = base64.b64decode(encoded)
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    assert pixels.shape == (40, 40, 3)
    red, _, blue = pixels[1, 0]  # a mistake is orange, a hit blue, nothing white
    assert red > blue
    assert pixels[5, 5, 2] > pixels[5, 5, 0]
    assert pixels[5, 6].tolist() == [255, 255, 255]
    assert re.search(r"<td>class 1</td><td>class 0</td><td[^>]*>4</td>", html)


@pytest.mark.parametrize("num_classes", [3, 40])
def test_a_network_without_mistakes_has_none_to_list(num_classes):
    html = confusion(evaluation(num_classes, mistaken=0)).html
    assert "miss" not in html
    assert "most confused" not in html
