"""Finding a learning rate for a job: nothing of the job itself is touched."""

from pathlib import Path

from jobs.config import Job
from jobs.exits import ConfigError
from jobs.preparation import load_data, start_network
from pipeline.whole import write_whole
from trainer import figures, zoo
from trainer.rate_sweep import RateSweep, sweep
from trainer.recipe import Recipe


def find_rate(job: Job, picture: Path) -> RateSweep:
    """Sweep the rate on the job's own data and network, and draw the losses.

    Raises ConfigError when data or network do not fit the job, or no step has a finite loss.
    """
    data = load_data(job)
    recipe = Recipe(job.model, job.train)
    policy, _ = recipe.choose_precision(data.info)
    model, _ = start_network(recipe, data, policy)
    found = sweep(model, data, job.train, zoo.MODELS[job.model.name].auxiliary_loss_weights)
    if not found.rates:
        raise ConfigError("the loss of the first step is no finite number: look at the data")
    write_whole(picture, figures.png(figures.sweep_curve(found)))
    return found
