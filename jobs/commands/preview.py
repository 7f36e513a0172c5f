"""`convoy data preview`: see what augmentation makes of the training images."""

from pathlib import Path
from typing import Annotated

import typer

from jobs import options
from jobs.exits import CommandError

Out = Annotated[Path, typer.Option("--out", metavar="FILE.png", help="Picture to write.")]
Count = Annotated[int, typer.Option(min=1, max=100, help="Images to show.")]


def preview(
    config: options.ConfigFile,
    out: Out,
    count: Count = 8,
    set_: options.Overrides = None,
    json: options.Json = False,
) -> None:
    """Draw training images beside what augmentation makes of them.

    With data.augment.save_to_dir set, every augmented image is written there too.
    """
    from jobs import console
    from jobs.config import load

    job = load(config, set_)
    console.load_tensorflow()
    from jobs.preparation import load_data
    from pipeline import preview

    data = load_data(job)
    try:
        picture, samples = preview.draw(data, count)
    except ValueError as problem:
        raise CommandError(str(problem)) from None
    out.parent.mkdir(parents=True, exist_ok=True)
    picture.save(out, "PNG")
    directory = job.data.augment.save_to_dir
    if directory is not None:
        preview.save_augmented(samples, Path(directory))
    if json:
        console.print_json({"file": str(out), "images": len(samples.augmented), "saved": directory})
    else:
        console.stderr.print(f"{out}: originals left, augmented right")
