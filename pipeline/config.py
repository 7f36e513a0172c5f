"""What a job says about its data."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.augment_config import AugmentConfig
from pipeline.check_config import CheckConfig

Side = Annotated[int, Field(ge=1, le=4096)]

SOURCE_FORMS = {
    "digits": "scikit-learn's 1,797 handwritten digits, 8x8 grey",
    "iris": "Fisher's 150 flowers, 4 measurements each",
    "idx:DIR": "MNIST's four IDX files, plain or .gz",
    "folder:PATH": "a directory or archive (.zip, .tar.gz) with one directory of images per class, "
    "with or without a train/validation/test level",
    "csv:FILE": "a manifest with the columns path, label and optionally split",
    "npz:FILE": "NumPy arrays x_train, y_train and so on",
    "tfrecord:GLOB": "tf.Example records with image and label, as TFX writes them; several globs "
    "with commas between, each with its split if its files do not say it (train=GLOB,eval=GLOB)",
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
    resize: Literal["antialias", "nearest"] = Field(
        "antialias",
        description="antialias blends the pixels that fall on one; nearest takes one of them, as "
        "ImageDataGenerator does, and decodes photographs half as fast again",
    )
    cache: Literal["auto", "memory", "disk"] = Field(
        "auto",
        description="Where decoded images are kept after the first epoch; auto takes memory up to "
        "cache_limit_mb, else a file under data_dir",
    )
    cache_limit_mb: int = Field(
        2048,
        ge=1,
        description="Memory for decoded images, in MB, of all splits together, and of the images "
        "drawn from at random when they are on disk; 2048 leaves a laptop usable",
    )
    service: str | None = Field(
        None,
        pattern=r"^grpc://.+:\d+$",
        description='Dispatcher of a tf.data service, such as "grpc://host:5000", whose workers '
        "prepare the training batches; epochs then mix and the order depends on timing. Unset "
        "prepares them in the training process",
    )
    augment: AugmentConfig = Field(
        AugmentConfig(),
        description="Random changes of training images, and the standardisation of all images",
    )
    check: CheckConfig = Field(
        CheckConfig(), description="What the data must pass before anything is trained on them"
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

    @model_validator(mode="before")
    @classmethod
    def _validation_split_is_the_fraction(cls, tree: Any) -> Any:
        """Let Keras' name for it set the fraction; two different values are an error."""
        augment = tree.get("augment", {}) if isinstance(tree, dict) else {}
        split = augment.get("validation_split") if isinstance(augment, dict) else None
        if split is None:
            return tree
        fraction = tree.get("validation_fraction", split)
        if fraction != split:
            raise ValueError(
                f"validation_fraction is {fraction} and augment.validation_split {split}; they are "
                "two names for one share: set one of them"
            )
        return {**tree, "validation_fraction": split}
