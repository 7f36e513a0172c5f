"""What a network sees: its first filters, and an image after each convolution and pooling."""

import keras
import numpy as np
from keras import layers
from matplotlib.figure import Figure

FILTERS_PER_ROW = 16
MAPS_PER_LAYER = 12  # the first channels; deep layers have hundreds
TILE = 0.75  # inches
DPI = 100
_SHOWN = (
    layers.Conv2D,
    layers.DepthwiseConv2D,
    layers.SeparableConv2D,
    layers.MaxPooling2D,
    layers.AveragePooling2D,
)


def draw_filters(model: keras.Model) -> Figure:
    """Draw the kernels of the first convolution, each on its own scale from black to white.

    Kernels over three channels are drawn as colours, others as the mean over their channels.
    Raises ValueError when the network has no convolution.
    """
    first = next((x for x in model.layers if isinstance(x, layers.Conv2D)), None)
    if first is None:
        raise ValueError(f"{model.name} has no convolution, so it has no filters to draw")
    kernels = np.moveaxis(np.asarray(first.kernel, np.float32), -1, 0)  # [filters, h, w, channels]
    rows = -(-len(kernels) // FILTERS_PER_ROW)
    figure, axes = _grid(rows, min(FILTERS_PER_ROW, len(kernels)), f"{first.name}: filters")
    for place, kernel in zip(axes.flat, kernels, strict=False):
        colours = kernel if kernel.shape[-1] == 3 else kernel.mean(axis=-1)
        place.imshow(_stretch(colours), cmap="gray", vmin=0, vmax=1)
    return figure


def draw_maps(model: keras.Model, image: np.ndarray) -> Figure:
    """Draw what follows each convolution and pooling for one scaled image [H, W, C].

    One row a layer, after its normalisation and activation if it has them; the first channels,
    each on its own scale. Raises ValueError when the network has no such layer.
    """
    shown = [layer for layer in model.layers if isinstance(layer, _SHOWN)]
    if not shown:
        raise ValueError(f"{model.name} has no convolution or pooling to draw the maps of")
    ends = [_refined(layer) for layer in shown]
    watcher = keras.Model(model.input, [layer.output for layer in ends])
    maps = [np.asarray(m, np.float32)[0] for m in watcher(image[None])]
    figure, axes = _grid(len(maps), MAPS_PER_LAYER, f"{model.name}: feature maps")
    for row, layer, channels in zip(axes, shown, maps, strict=True):
        size = "×".join(map(str, channels.shape))
        row[0].set_title(f"{layer.name} {size}", loc="left", size=8, pad=2)
        for place, channel in zip(row, np.moveaxis(channels, -1, 0), strict=False):
            place.imshow(_stretch(channel), cmap="viridis", vmin=0, vmax=1)
    return figure


def _grid(rows: int, columns: int, title: str) -> tuple[Figure, np.ndarray]:
    size = (columns * TILE + 0.2, rows * (TILE + 0.18) + 0.5)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.suptitle(title, size=10)
    axes = figure.subplots(rows, columns, squeeze=False)
    for place in axes.flat:
        place.axis("off")
    return figure, axes


def _stretch(values: np.ndarray) -> np.ndarray:
    """Stretch to 0..1; a constant becomes 0."""
    values = values - values.min()
    return values / (values.max() or 1.0)


def _refined(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return the last of the normalisation and activation that alone follow `layer`."""
    while len(layer._outbound_nodes) == 1:
        following = layer._outbound_nodes[0].operation
        if not isinstance(following, (layers.BatchNormalization, layers.Activation, layers.ReLU)):
            break
        layer = following
    return layer
