"""The architecture: its size, layer by layer, and its graph."""

import keras

from trainer import diagram, flops, page
from trainer.chapters.headline import engineering
from trainer.flops import LayerCost
from trainer.page import Section

MOST_DRAWN = 60  # layers; the picture of a deeper graph is too large for a page
OPEN = 16  # layers listed without being asked


def network(model: keras.Model) -> Section:
    """Give parameters, multiply-adds, the layers and, of a small network, the graph."""
    cost = flops.count(model)
    rows = [
        ("architecture", model.name),
        ("input", _size(tuple(model.input_shape[1:]))),
        ("classes", f"{model.output_shape[-1]:,}"),
        ("layers with weights", f"{sum(layer.parameters > 0 for layer in cost.layers):,}"),
        ("parameters", f"{cost.parameters:,}, {cost.trainable_parameters:,} of them trained"),
        ("multiply-adds", f"{engineering(cost.multiply_adds)} for one example"),
    ]
    table = page.rich_table(
        ("layer", "output", "parameters", "multiply-adds"), [_row(layer) for layer in cost.layers]
    )
    listed = table if len(cost.layers) <= OPEN else page.folded(f"{len(cost.layers)} layers", table)
    return Section("Network", page.facts(rows) + listed + _drawing(model))


def _drawing(model: keras.Model) -> str:
    if len(model.layers) > MOST_DRAWN:
        return ""
    drawn = page.charts([(diagram.draw(model), f"graph of {model.name}, layer by layer")])
    return page.folded("Graph", f'<div class="scroll drawing">{drawn}</div>')


def _row(layer: LayerCost) -> list[str]:
    counts = [f"{n:,}" if n else "" for n in (layer.parameters, layer.multiply_adds)]
    return [
        page.noted(layer.name, layer.kind),
        page.cell(_size(layer.output_shape)),
        *map(page.cell, counts),
    ]


def _size(shape: tuple[int | None, ...]) -> str:
    return "×".join(map(str, shape))
