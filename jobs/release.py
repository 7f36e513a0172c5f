"""The last stages of a run: from a scored network to a version in service, or out of it again."""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import keras

import serving.errors
from jobs import golden, rehearsal
from jobs.bless import Blessing, Export, Rule, changes, floors, incomparable
from jobs.card import make_card
from jobs.config import Job
from jobs.exits import ConfigError
from jobs.fingerprint import fingerprint, version_of
from jobs.live import NotComparable, ask_live
from jobs.probe import Probe
from jobs.rundir import RunDir
from jobs.settling import Settling
from jobs.stages import stage
from pipeline.dataset import DataInfo, Splits
from pipeline.whole import clear, room_given_back
from serving.options import TLS
from serving.seal import Signer, read_signer
from serving.store import CANARY, STABLE, Store
from trainer.callbacks import Hooks, Interrupted
from trainer.evaluate import Evaluation, Predictions
from trainer.export import export

BLESSING = "blessing.json"
PUBLISHED = "published.json"
PROBE = "probe.json"
GOLDEN = "golden.npz"
PRODUCTION = (  # what TensorFlow Serving does, for who asks no server
    "TensorFlow Serving refuses the whole models.config, all models, while a label moves to a "
    "version that does not load; publish.probe names servers to be asked first"
)
VERDICTS = {True: "BLESSED", False: "NOT_BLESSED"}  # empty files, as TFX's Evaluator writes them
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Release:
    """Each stage may be asked for again after an interruption; one run publishes one version."""

    job: Job
    run: RunDir
    hooks: Hooks
    sleep: Callable[[float], None] = time.sleep

    @cached_property
    def store(self) -> Store:
        """The store that blessed models go to."""
        return Store(self.job.publish.store, self.job.publish.keep, self.signer())

    def signer(self) -> Signer | None:
        """Read the key that signs versions, if the job has one. Raises ConfigError."""
        path = self.job.publish.signing_key
        try:
            return read_signer(Path(path)) if path else None
        except serving.errors.ConfigError as problem:
            raise ConfigError(f"publish.signing_key: {problem}") from None

    def probe_tls(self) -> TLS | None:
        """Give the certificates for the probe, if servers want TLS. Raises ConfigError."""
        chosen = self.job.publish.probe_tls
        if chosen is None:
            return None
        tls = TLS(**chosen.model_dump())
        try:
            tls.credentials()
        except OSError as problem:
            raise ConfigError(f"publish.probe_tls: {problem}") from None
        return tls

    def served_runs(self) -> set[str]:
        """Give the names of the runs that made the versions which are served now."""
        name = self.job.name
        there = set(self.store.served(name)) & set(self.store.versions(name))
        cards = [self.store.card(name, version) for version in there]
        return {card["run"] for card in cards if "run" in card}

    @property
    def label(self) -> str:
        """The label that a published version gets."""
        return CANARY if self.job.publish.canary else STABLE

    def version_there(self, info: DataInfo) -> int | None:
        """Give the version that another run has made of the same data and settings, if any."""
        version = version_of(self.store, self.job.name, fingerprint(self.job, info.digest))
        return None if version is None or version == self.published() else version

    def published(self) -> int | None:
        """Give the version that this run has published, before an interruption or a resumption."""
        if (self.run / PUBLISHED).exists():
            version: int = self.run.read_json(PUBLISHED)["version"]
            return version
        name, own = self.job.name, self.run.path.name
        versions = self.store.versions(name)
        return next((v for v in versions if self.store.card(name, v).get("run") == own), None)

    def bless(
        self, model: keras.Model, data: Splits, predictions: Predictions, evaluation: Evaluation
    ) -> Blessing:
        """Hold the model against the job's floors and against the model that is live now."""
        if self.published() is not None:  # its own version may be the live one
            return Blessing.of_json(self.run.read_json(BLESSING))
        with stage(self.run, self.hooks, "bless"):
            rules = floors(evaluation, self._measure(model, data), self.job.bless)
            live = None
            if self.job.bless.compare:
                live, more = self._compare(predictions, data)
                rules += more
            blessing = Blessing(rules, live)
            self.run.write_json(BLESSING, blessing.to_json())
            (self.run / VERDICTS[not blessing.blessed]).unlink(missing_ok=True)
            self.run.write(VERDICTS[blessing.blessed], "")
        return blessing

    def roll_out(self, model: keras.Model, data: Splits) -> tuple[int, list[str]]:
        """Export, verify, publish, probe and label; give the version, and why it was withdrawn.

        Raises VerifyFailed when the export does not answer like the network.
        """
        if self.published() is None:
            self._export(model, data)
        return self.roll_out_export()

    def roll_out_export(self) -> tuple[int, list[str]]:
        """Do the same with an export that is in the run already, beside its golden images."""
        if self.published() is None:
            self._verify()
        version = self._publish()
        if self.job.publish.probe or self.run.is_done("probe"):
            return version, self._probe(version)
        self._settle(version)
        return version, []

    def _measure(self, model: keras.Model, data: Splits) -> Export:
        """Measure a trial export where the job limits it; the real one will hold the verdict."""
        if self.job.bless.max_latency_ms is None and self.job.bless.max_size_mb is None:
            return Export()
        trial = export(model, data.info, data.prepare, self.run / "trial-export", {})
        samples = partial(golden.choose, model, data)
        measured = rehearsal.measure(trial, self.job.bless, samples, self.run / "rehearsal")
        clear(trial)
        return measured

    def _compare(self, predictions: Predictions, data: Splits) -> tuple[int | None, list[Rule]]:
        name = self.job.name
        try:
            live = ask_live(self.store, name, data)
        except NotComparable as problem:
            return self.store.live(name), [incomparable(str(problem))]
        if live is None:
            return None, []
        if live.caveat:
            log.warning("compared with version %d: %s", live.version, live.caveat)
        return live.version, changes(predictions, data.info.class_names, live, self.job.bless)

    def _export(self, model: keras.Model, data: Splits) -> None:
        with stage(self.run, self.hooks, "export"):
            card = make_card(self.job, self.run, data.info)
            self.run.write_json("card.json", card)
            golden.choose(model, data).save(self.run / GOLDEN)
            staged = self.run / "partial-export"
            trained_on = data.source.slices["train"].contents()
            with room_given_back(staged):
                export(model, data.info, data.prepare, staged, card, trained_on)
            shutil.rmtree(self.run / "export", ignore_errors=True)  # of an interrupted attempt
            staged.rename(self.run / "export")

    def _verify(self) -> None:
        with stage(self.run, self.hooks, "verify"):
            images = golden.load(self.run / GOLDEN)
            gap = rehearsal.verify(self.run / "export", images, self.run / "rehearsal")
        log.info("verified: a fresh server answers like the network, off by %.1g", gap)

    def _publish(self) -> int:
        name, label = self.job.name, self.label
        with stage(self.run, self.hooks, "publish"):
            version = self.published()
            if version is None:
                self._look_at_last_label()
                version = self.store.publish(name, self.run / "export", label)
            else:
                self.store.complete(name, version, label)
            self.run.write_json(PUBLISHED, {"version": version, "label": label})
        log.info("published: %s version %d, %s, in %s", name, version, label, self.store.root)
        return version

    def _look_at_last_label(self) -> None:
        """Say so where nobody knows whether servers took what was published before."""
        name, publish = self.job.name, self.job.publish
        unconfirmed = self.store.unconfirmed(name)
        if unconfirmed and not publish.probe:
            log.warning(
                "no server ever said that it serves %s version %s, which has a label or waits for "
                "one; if some do not, they refuse what is published now too. convoy models repair "
                "--store %s --servers HOST:PORT asks them",
                name, " or ".join(map(str, unconfirmed)), self.store.root,
            )  # fmt: skip

    def _probe(self, version: int) -> list[str]:
        """Ask servers, then move the label; give why the version was withdrawn instead, if so."""
        if self.run.is_done("probe"):
            faults: list[str] = self.run.read_json(PROBE)["faults"]
            return faults
        with stage(self.run, self.hooks, "probe"):
            faults = self._ask_servers(version)
            if faults:
                before = self.store.withdraw(self.job.name, version, "; ".join(faults))
                log.error("withdrew version %d; %s is live", version, before or "none")
            else:
                self.store.settle(self.job.name, version, self.job.publish.probe)
            self.run.write_json(PROBE, {"servers": self.job.publish.probe, "faults": faults})
        return faults

    def _settle(self, version: int) -> None:
        """Give servers time, then move the label; a model's first version has it already."""
        name, seconds = self.job.name, self.job.publish.settle_seconds
        if version not in self.store.pending(name).values():
            return
        with stage(self.run, self.hooks, "settle"):
            log.warning(
                "in %.0f s %s moves to version %d, and no server is asked whether it has it. %s",
                seconds, self.label, version, PRODUCTION,
            )  # fmt: skip
            Settling(settle_seconds=seconds, check=self._go_on, sleep=self.sleep).wait({})
            if not self.store.settle(name, version):
                log.warning("%s did not move: a later command has taken it", self.label)

    def _ask_servers(self, version: int) -> list[str]:
        name, publish = self.job.name, self.job.publish
        for event in self.store.history(name):  # of an attempt that was killed half-way
            if event["event"] == "withdraw" and event["version"] == version:
                return [event["reason"]]
        images = golden.load(self.run / GOLDEN)
        probe = Probe(name, version, images, publish.probe_seconds, self._go_on, self.probe_tls())
        return probe.ask(publish.probe)

    def _go_on(self) -> None:
        if self.hooks.stop_requested():
            raise Interrupted
