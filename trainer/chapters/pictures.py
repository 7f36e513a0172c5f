"""Examples to look at: where the network is surest and wrong, and what it was trained on."""

import numpy as np

from pipeline.dataset import Splits
from pipeline.preview import originals
from trainer import page
from trainer.page import Section, Shot
from trainer.summary import RunSummary

MOST_MISTAKES = 12
SAMPLES = 6  # training images shown as they are and as they are trained on


def mistakes(summary: RunSummary, data: Splits) -> Section:
    """Give the wrong answers with the highest probability, as pictures where there are any."""
    title, note = "Most confident mistakes", "What it took each example for, and what it is."
    probabilities, labels = summary.predictions.probabilities, summary.predictions.labels
    guesses, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(guesses != labels)
    if not len(wrong):
        return Section(title, page.paragraph("None: every answer on the test split is right."))
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST_MISTAKES]
    names = summary.info.class_names
    captions = [
        (f"{names[guesses[i]]}, {confidence[i]:.0%}", f"is {names[labels[i]]}") for i in worst
    ]
    if not summary.info.is_image:
        rows = [(f"test example {i + 1}", *words) for i, words in zip(worst, captions, strict=True)]
        return Section(title, page.table(("", "answer", "truth"), rows))
    images = originals(data, "test", worst)
    shots = [Shot(image, *words) for image, words in zip(images, captions, strict=True)]
    return Section(title, page.gallery(shots), note)


def training_images(data: Splits) -> Section:
    """Give the first training images beside what augmentation makes of them."""
    samples = data.sample(SAMPLES)
    before, after = samples.originals, samples.augmented
    if before.shape == after.shape and np.array_equal(before, after):
        shots = [Shot(image, f"training image {n}") for n, image in enumerate(before, start=1)]
        return Section("Training images", page.gallery(shots), "Trained on as they are.")
    note = "As they are, and beside it as one epoch is trained on them."
    return Section("Augmentation", page.pairs(before, after), note)
