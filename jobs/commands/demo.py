"""`convoy demo`: from data to answered requests, to see that everything works on this machine."""

from pathlib import Path

from jobs import console, options

SAMPLES = 8


def demo(
    config: options.ConfigFile = Path("configs/digits.toml"),
    set_: options.Overrides = None,
    runs: options.Runs = Path("runs"),
) -> None:
    """Run a job, serve its store with the embedded server, and ask it about sample images."""
    from jobs.commands.predict import print_predictions
    from jobs.commands.run import run
    from jobs.config import load

    run(config, set_, runs=runs)
    from jobs.demo import write_samples
    from jobs.embedded import embedded_server
    from serving.client import Client

    job = load(config, set_)
    samples = write_samples(job, runs / job.name / "samples", SAMPLES)
    console.stderr.print("starting the embedded server")
    with embedded_server(job.publish.store) as address, Client(address) as client:
        predictions = client.predict(samples, model=job.name, top=3)
        print_predictions(samples, predictions)
    serve = f"convoy serve --store {job.publish.store}"
    ask = f"convoy predict {samples[0]} --model {job.name}"
    console.stdout.print(f"Serve it yourself: {serve}\nthen ask:          {ask}", soft_wrap=True)
