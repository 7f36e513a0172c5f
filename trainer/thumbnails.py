"""Small pictures of examples, light enough to put dozens of them into a page."""

import io

import numpy as np
from PIL import Image

COARSE = 64  # pixels: smaller images are enlarged with their pixels kept apart
MOST_PIXELS = 224  # of the longer side: twice the width that a page gives a picture
QUALITY = 80  # of JPEG, which takes over where PNG grows heavy


def encode(image: np.ndarray) -> tuple[bytes, str]:
    """Encode uint8 [H, W, 1 or 3]; the second value is the kind, png or jpeg."""
    drawn = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    kind = "png" if min(image.shape[:2]) < COARSE else "jpeg"
    drawn.thumbnail((MOST_PIXELS, MOST_PIXELS))
    buffer = io.BytesIO()
    drawn.save(buffer, format=kind, quality=QUALITY)
    return buffer.getvalue(), kind
