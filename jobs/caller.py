"""Who calls a server: the token in CONVOY_TOKEN, for servers that were started with --tokens."""

import os


def metadata() -> list[tuple[str, str]]:
    """Return what goes with every call; nothing where no token is set."""
    token = os.environ.get("CONVOY_TOKEN", "").strip()
    return [("authorization", f"Bearer {token}")] if token else []
