"""What a job says about its data."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Side = Annotated[int, Field(ge=1, le=4096)]

SOURCE_FORMS = {
    "digits": "scikit-learn's 1,797 handwritten digits, 8x8 grey",
    "iris": "Fisher's 150 flowers, 4 measurements each",
    "idx:DIR": "MNIST's four IDX files, plain or .gz",
    "folder:PATH": "a directory or archive (.zip, .tar.gz) with one directory of images per class, "
    "with or without a train/validation/test level",
    "csv:FILE": "a manifest with the columns path, label and optionally split",
    "npz:FILE": "NumPy arrays x_train, y_train and so on",
    "tfrecord:GLOB": "tf.Example records with image and label, as TFX writes them",
    "tfds:NAME": "any TensorFlow Datasets builder with an image (or features) and a label",
}


class DataConfig(BaseModel):
    """One source of labelled examples and the tensors to make of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(
        description="Where examples come from: "
        + "; ".join(f"{k}: {v}" for k, v in SOURCE_FORMS.items())
    )
    data_dir: str = Field(
        "data",
        description="Where prepared sources are kept, so that the next run does not prepare again",
    )
    beam_options: tuple[str, ...] = Field(
        (),
        description="Flags for the Apache Beam runner of TFDS sets that are prepared with it, such "
        'as "--runner=FlinkRunner"; needs apache-beam installed',
    )
    image_size: tuple[Side, Side] | None = Field(
        None,
        description="Height and width in pixels that every image is resized to; unset keeps the "
        "source's own size, which works only when the source declares one",
    )
    channels: Literal[1, 3] = Field(
        3,
        description="1 (grey) or 3 (RGB); sources are converted. 3 is what most of the zoo was "
        "designed for",
    )
    class_names: tuple[str, ...] | None = Field(
        None,
        description="Labels in the order of the source's class numbers, for sources without names "
        "of their own (IDX files); unset keeps the source's names",
    )
    validation_fraction: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="Share of the training split cut off for validation when the source has no "
        "such split; a tenth keeps the estimate useful and most of the data for training",
    )
    test_fraction: float = Field(
        0.15,
        gt=0,
        lt=1,
        description="Share of the training split cut off for the test when the source has no "
        "such split",
    )
    shuffle_buffer: int = Field(
        60_000,
        ge=1,
        description="Examples drawn from at random; 60,000 shuffles MNIST-sized data as a whole",
    )
    seed: int = Field(0, ge=0, description="Seed of the order of training examples")

    @field_validator("source")
    @classmethod
    def _source_has_a_known_form(cls, value: str) -> str:
        kind, colon, place = value.partition(":")
        known = {form.partition(":")[0]: ":" in form for form in SOURCE_FORMS}
        if kind not in known or known[kind] != bool(colon and place):
            raise ValueError(f"no such source. Allowed: {', '.join(SOURCE_FORMS)}")
        return value
