"""What a job says about its data."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline import idle
from pipeline.augment_config import AugmentConfig
from pipeline.check_config import CheckConfig
from pipeline.labels import distinct

VALIDATION_SHARE = 0.1
TEST_SHARE = 0.15
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
        description="The source's classes to take, by name and in this order, as Keras' classes; "
        "where a source only numbers its classes (IDX files), a name for each number. Unset takes "
        "all in the source's order",
    )
    validation_fraction: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of the training split cut off for validation, each example by its key "
        "alone, so that a growing source moves none; for sources without such a split. Unset is a "
        "tenth, which keeps the estimate useful and most of the data for training",
    )
    test_fraction: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="The same for the test; unset is 0.15",
    )
    resplit: bool = Field(
        False,
        description="Join the source's own splits and cut all of them anew by the fractions; off, "
        "as a split that others have made is there for comparison with theirs",
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

    @property
    def validation_share(self) -> float:
        """The share of validation where it is cut."""
        return VALIDATION_SHARE if self.validation_fraction is None else self.validation_fraction

    @property
    def test_share(self) -> float:
        """The share of the test where it is cut."""
        return TEST_SHARE if self.test_fraction is None else self.test_fraction

    @field_validator("class_names")
    @classmethod
    def _class_names_are_names(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is None:
            return None
        if len(value) < 2:
            raise ValueError(f"a classifier needs at least 2 classes, and {len(value)} is named")
        return distinct(value, "it")

    @model_validator(mode="after")
    def _settings_have_an_effect(self) -> "DataConfig":
        if not self.source.startswith("tfds:"):
            idle.refuse(self, ("beam_options",), "Beam prepares sets of TFDS alone (tfds:NAME)")
        if self.cache == "memory":
            idle.refuse(self, ("cache_limit_mb",), 'cache = "memory" takes what is needed')
        return self

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
