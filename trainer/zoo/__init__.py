"""The model zoo: every architecture by name, and how to build it."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import keras
from pydantic import ValidationError

from trainer.zoo import (
    alexnet,
    applications,
    blocks,
    chatfield,
    googlenet,
    lenet,
    mlp,
    resnet,
    senet,
    vgg,
)
from trainer.zoo.architecture import Architecture, Options

MODELS: dict[str, Architecture] = (
    mlp.VARIANTS
    | lenet.VARIANTS
    | alexnet.VARIANTS
    | chatfield.VARIANTS
    | vgg.VARIANTS
    | googlenet.VARIANTS
    | resnet.VARIANTS
    | senet.VARIANTS
    | blocks.VARIANTS
    | applications.VARIANTS
)


def build(
    name: str,
    image_size: tuple[int, int] | None = None,
    channels: int = 3,
    num_classes: int = 1000,
    features: int | None = None,
    **options: Any,
) -> keras.Model:
    """Build the bare network `name`: scaled floats in, float32 probabilities [N, num_classes] out.

    Image networks take [N, H, W, C] floats scaled as `MODELS[name].scaling` says; `mlp` and
    `mlp_wide` take [N, features]. `options` are those of the family (see `check_options`).
    Raises ValueError for an unknown name or option, for an image too small for the network, and
    for less than two classes.
    """
    checked = check_options(name, options)
    if num_classes < 2:
        raise ValueError(
            f"num_classes must be at least 2, not {num_classes!r}: the probabilities of a softmax "
            "sum to 1, so that of a single class is always 1. Yes or no is two classes"
        )
    inputs = find(name).inputs(image_size, channels, features)
    outputs = find(name).connect(inputs, num_classes, checked)
    return keras.Model(inputs, outputs, name=name.replace("/", "_"))


def find(name: str) -> Architecture:
    """Return the registry's entry for `name`. Raises ValueError with the nearest names."""
    try:
        return MODELS[name]
    except KeyError:
        raise ValueError(
            f"unknown model {name!r}.{_did_you_mean(name, MODELS)} Known: {', '.join(MODELS)}"
        ) from None


def check_options(name: str, options: dict[str, Any]) -> Options:
    """Check options against the family's own, without building anything.

    Raises ValueError that names the option, the value that came and what is allowed.
    """
    architecture = find(name)
    unknown = [option for option in options if option not in architecture.options.model_fields]
    if unknown:
        known = architecture.options.model_fields
        raise ValueError(
            f"model {name!r} has no option {unknown[0]!r}.{_did_you_mean(unknown[0], known)} "
            f"It has: {', '.join(known)}"
        )
    try:
        return architecture.options(**options)
    except ValidationError as error:
        raise ValueError(f"model {name!r}: {_explain(error, options)}") from None


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    spellings = {spelling.lower(): spelling for spelling in known}
    close = get_close_matches(name.lower(), spellings, n=1)
    return f" Did you mean {spellings[close[0]]!r}?" if close else ""


def _explain(error: ValidationError, options: dict[str, Any]) -> str:
    complaints: dict[str, list[str]] = {}  # a field of several types complains once for each
    for detail in error.errors(include_url=False):
        option = str(detail["loc"][0]) if detail["loc"] else ""
        complaints.setdefault(option, []).append(detail["msg"].removeprefix("Value error, "))
    return "; ".join(
        f"option {option!r} got {options[option]!r}: {' or: '.join(messages)}"
        if option
        else messages[0]
        for option, messages in complaints.items()
    )
