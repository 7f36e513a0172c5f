"""What a job says about augmentation, and about the standardisation that serving repeats.

The first group of fields carries the names and meanings of Keras' `ImageDataGenerator`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.idle import changed

FillMode = Literal["constant", "nearest", "reflect", "wrap"]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Shift = int | Finite | tuple[Finite, ...]
Side = Annotated[int, Field(ge=1, le=4096)]

SHIFT_MEANING = (
    "a fraction below 1 is a share of the image, a larger float is pixels, an integer n is a whole "
    "number of pixels below n, and a list names the pixels (or shares) to choose from"
)


class AugmentConfig(BaseModel):
    """Random changes of training images; the standardisation fields hold for every split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    featurewise_center: bool = Field(
        False,
        description="Subtract the training split's mean, per channel (per feature of a vector); "
        "off, as the model's own scaling is centred well enough for most networks",
    )
    samplewise_center: bool = Field(
        False, description="Subtract every example's own mean; off, as it removes brightness"
    )
    featurewise_std_normalization: bool = Field(
        False,
        description="Divide by the training split's deviation, and centre; off for the same reason "
        "as featurewise_center",
    )
    samplewise_std_normalization: bool = Field(
        False,
        description="Divide by every example's own deviation, and centre; off, as it removes "
        "contrast",
    )
    zca_whitening: bool = Field(
        False,
        description="Decorrelate all values of an example, centred; overrides "
        "featurewise_std_normalization. Off: its matrix has (H*W*C)^2 numbers",
    )
    zca_epsilon: float = Field(
        1e-6,
        gt=0,
        description="Added to the singular values before they divide; 1e-6 is Keras' own, larger "
        "values amplify noise less",
    )
    rotation_range: Finite = Field(
        0.0, description="Rotate by up to this many degrees either way; 0 is off"
    )
    width_shift_range: Shift = Field(
        0.0, description=f"Shift sideways, either way: {SHIFT_MEANING}; 0 is off"
    )
    height_shift_range: Shift = Field(
        0.0, description=f"Shift up and down, either way: {SHIFT_MEANING}; 0 is off"
    )
    brightness_range: tuple[Finite, Finite] | None = Field(
        None, description="Lowest and highest factor on all pixel values; unset is off"
    )
    shear_range: Finite = Field(
        0.0, description="Shear by up to this many degrees either way; 0 is off"
    )
    zoom_range: Annotated[float, Field(ge=0, le=1)] | tuple[Finite, Finite] = Field(
        0.0,
        description="z means factors 1-z to 1+z, [low, high] names them; height and width are "
        "drawn apart, and a factor below 1 enlarges. 0 is off",
    )
    channel_shift_range: Finite = Field(
        0.0, description="Add up to this much, either way, to 0..255 pixels; 0 is off"
    )
    fill_mode: FillMode = Field(
        "nearest",
        description="What lies outside the image: the constant cval, the nearest edge, its "
        "reflection, or the other side; nearest is Keras' own default",
    )
    cval: float = Field(
        0.0, ge=0, le=255, description="Pixel value outside the image under constant; 0 is black"
    )
    horizontal_flip: bool = Field(
        False, description="Mirror every second image left to right; off, as digits have a side"
    )
    vertical_flip: bool = Field(
        False, description="Mirror every second image top to bottom; off, as photographs have one"
    )
    rescale: float | None = Field(
        None,
        gt=0,
        description="Factor on 0..255 pixels, such as 0.00392156862 (1/255), in place of the "
        "model's own scaling; unset keeps that",
    )
    validation_split: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Keras' name for data.validation_fraction, which it sets; unset leaves that",
    )
    save_to_dir: str | None = Field(
        None,
        description="Directory in which `convoy data preview` writes every augmented image that "
        "it draws, as a PNG file of its own; training writes none, or each epoch would",
    )
    random_crop: tuple[Side, Side] | None = Field(
        None,
        description="Height and width that training images are resized to before a window of "
        "data.image_size is cut out at a random place (256 for 224 in AlexNet and VGG); "
        "evaluation and serving resize the whole image. Unset is off",
    )
    rand_augment: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Strength of RandAugment (Cubuk et al. 2019), Keras' operations; 0 is off, as "
        "they cost more than a small network's step",
    )
    rand_augment_operations: int = Field(
        2, ge=1, le=11, description="Operations in a row, one draw for a batch; 2 is the paper's"
    )
    mixup: float = Field(
        0.0,
        ge=0,
        description="Alpha of MixUp (Zhang et al. 2017), 0.2 in the paper; 0 is off. With cutmix "
        "set too, every batch takes one of the two",
    )
    cutmix: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Upper end of the alpha of CutMix (Yun et al. 2019), 1.0 in the paper; 0 is "
        "off",
    )
    random_erasing: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Highest probability that a patch is replaced by noise (Zhong et al. 2017), "
        "drawn per image as Keras does; 0 is off",
    )

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> "AugmentConfig":
        for name in ("brightness_range", "zoom_range"):
            value = getattr(self, name)
            if isinstance(value, tuple) and (value[0] > value[1] or value[0] < 0):
                raise ValueError(
                    f"{name} {list(value)}: expected [low, high] with 0 <= low <= high"
                )
        return self

    @property
    def zooms(self) -> tuple[float, float]:
        """Lowest and highest zoom factor."""
        if isinstance(self.zoom_range, tuple):
            return self.zoom_range
        return 1 - self.zoom_range, 1 + self.zoom_range

    @property
    def moves(self) -> bool:
        """Whether any field moves pixels about."""
        moving = (
            self.rotation_range,
            self.width_shift_range,
            self.height_shift_range,
            self.shear_range,
            self.zooms != (1.0, 1.0),
            self.horizontal_flip,
            self.vertical_flip,
            self.random_crop,
        )
        return any(moving)

    @property
    def mixes(self) -> bool:
        """Whether labels become shares of classes."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def idle(self) -> str | None:
        """Why a field that is set changes nothing; None where each has an effect."""
        pairs = (
            ("cval", self.fill_mode == "constant", 'fill_mode = "constant"'),
            ("fill_mode", self.moves, "a field that moves pixels, such as rotation_range"),
            ("zca_epsilon", self.zca_whitening, "zca_whitening"),
            ("rand_augment_operations", self.rand_augment > 0, "rand_augment"),
        )
        for name, works, needed in pairs:
            if not works and changed(self, [name]):
                return f"{name} does nothing without {needed}"
        return None

    @property
    def needs_images(self) -> list[str]:
        """The fields set that vectors cannot have: all but standardisation and the split."""
        anywhere = {
            "featurewise_center",
            "samplewise_center",
            "featurewise_std_normalization",
            "samplewise_std_normalization",
            "zca_whitening",
            "zca_epsilon",
            "rescale",
            "validation_split",
        }
        default = AugmentConfig()
        names = set(AugmentConfig.model_fields) - anywhere
        return sorted(name for name in names if getattr(self, name) != getattr(default, name))
