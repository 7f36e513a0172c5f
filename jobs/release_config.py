"""What a model must prove, where it goes then, and what is kept of the runs."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline import idle


class BlessConfig(BaseModel):
    """What a model must prove on the test split before it is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_accuracy: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Lowest test accuracy; 0 publishes any model, so set it for production",
    )
    min_class_recall: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Lowest recall of any class on the test split; catches a class that is given "
        "up",
    )
    max_calibration_error: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Highest expected calibration error on the test split, for applications that "
        "act on probabilities; unset allows any",
    )
    max_latency_ms: float | None = Field(
        None,
        gt=0,
        description="Milliseconds that one image may take at the median, measured by gRPC against "
        "the embedded server on this machine's CPU; unset measures nothing",
    )
    max_size_mb: float | None = Field(
        None, gt=0, description="Megabytes that the SavedModel may have; unset allows any"
    )
    compare: bool = Field(
        True,
        description="Also hold the model against the one that is live now, on the same test split; "
        "false publishes one that shall not be compared, such as one for another kind of input",
    )
    significance: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="A loss against the live model is significant below this p-value of McNemar's "
        "exact test; 0.05 refuses at most one of twenty equally good models",
    )
    max_class_fall: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Recall that any class may lose against the live model; 0.1 is one of ten "
        "examples, so raise it where classes have fewer in the test split",
    )
    max_lost_classes: int = Field(
        0,
        ge=0,
        description="Classes of the live model that the new one may lack; 0, because a directory "
        "that went missing looks like a class that was given up",
    )


class ProbeTLSConfig(BaseModel):
    """Whom a probe trusts and how it proves who asks. Files in PEM."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca: str | None = Field(
        None, description="Who signed the servers' certificates; unset, the system's authorities"
    )
    certificate: str | None = Field(None, description="Our certificate, for mutual TLS")
    key: str | None = Field(None, description="The certificate's key")

    @model_validator(mode="after")
    def _a_certificate_has_a_key(self) -> "ProbeTLSConfig":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: give both or neither")
        return self


class PublishConfig(BaseModel):
    """Where blessed models go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str = Field(
        "models", description="The model store's directory; docker-compose serves ./models"
    )
    keep: int = Field(
        5, ge=2, description="Versions kept; 2 at least, or there is nothing to roll back to"
    )
    signing_key: str | None = Field(
        None,
        description="Private key (PEM, Ed25519) that signs each published version, for servers "
        "that require it; convoy models keygen makes one. Unset signs nothing",
    )
    canary: bool = Field(
        False,
        description='Publish under the label "canary", beside the live version, until "convoy '
        'models promote" makes it live',
    )
    probe: tuple[Annotated[str, Field(pattern=r"^[^\s:]+:\d+$")], ...] = Field(
        (),
        description='gRPC addresses of servers, such as "host:8500", that must serve the new '
        "version and answer like the trained network before its label moves; else it is withdrawn",
    )
    settle_seconds: float = Field(
        30,
        ge=0,
        description="Seconds that servers get to load a new version before its label moves, where "
        "none is probed; more than they take to poll the store and load. 0 where none polls it",
    )
    probe_seconds: float = Field(
        300,
        gt=0,
        description="Seconds until every probed server must do so; 300 suffices for polling a "
        "store and loading a large model",
    )
    probe_tls: ProbeTLSConfig | None = Field(
        None, description="TLS for asking the probed servers; unset, they are asked in plain text"
    )

    @model_validator(mode="after")
    def _probing_needs_servers(self) -> "PublishConfig":
        if not self.probe:
            reason = "publish.probe names no server to be asked"
            idle.refuse(self, ("probe_seconds", "probe_tls"), reason)
        return self


class RunsConfig(BaseModel):
    """What is kept of past runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep: int = Field(
        20,
        ge=1,
        description="Newest runs of the name that are kept whole; older ones keep their records "
        "and report, and lose checkpoints, logs and models, so that a disk lasts for years",
    )
    keep_data: int = Field(
        3,
        ge=1,
        description="Newest runs of the name whose prepared data, unpacked archives and decoded "
        "images are kept under data.data_dir, beside those of the versions that are served; what "
        "only older runs used is removed, and made again if it is asked for",
    )
