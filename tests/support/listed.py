"""The one list of commands that the guide shows and tests cannot run, each with its reason."""

import re

REASONS = {
    r"^apt install": "the network, and root's rights",
    r"^make ": "a make target: test_guide.py asks make for it",
    r"^docker-compose|^docker ": "a container engine; make compose-test runs the services",
    r"^kubectl ": "a cluster; tests/deploy/test_k8s.py holds the manifests",
    r"^convoy schedule": "it runs until it is stopped; tests/jobs/test_schedule.py starts it",
    r"^convoy-model-server ": "it runs until it is stopped",
    r"resnet50\.toml|models import applications/": "ImageNet's weights, from the network",
    r"data\.source=tfds:": "the network",
    r"^TF_CONFIG=|^KERASTUNER_TUNER_ID=": "two machines",
    r"^convoy tfx ": "TFX, in an environment of its own; tests/tfx runs it",
    r"^openssl ": "a program that need not be there",
    r"\b(RUN|FILE)\b|\bold\.h5|\bimage\.png": "stands for what the reader has",
}
README = {  # a list to choose from, not a way to go
    r"models (promote|rollback)": "there is no second version yet; operate.md runs it",
    r"models verify": "nothing was signed with that key yet; operate.md signs",
    r"convoy compare": "there is no second run yet; course/lenet.md runs it",
    r"convoy tune": "12 trials; scale.md runs a shorter search",
    r"convoy launch": "scale.md runs it",
}


def unrunnable(page: str, line: str) -> str | None:
    """Give the reason why a page's command is parsed only, None for one that is run."""
    reasons = REASONS | (README if page == "README.md" else {})
    found = (reason for pattern, reason in reasons.items() if re.search(pattern, line))
    return next(found, None)
