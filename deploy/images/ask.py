"""Ask a model server about image files, through gRPC or REST: one JSON line for each file."""

import argparse
import base64
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from serving.client import Client

Answer = dict[str, object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--model", required=True)
    server = parser.add_mutually_exclusive_group(required=True)
    server.add_argument("--grpc", metavar="HOST:PORT", help="for example serving:8500")
    server.add_argument("--rest", metavar="URL", help="for example http://serving:8501")
    asked = parser.parse_args()
    ask = through_grpc if asked.grpc else through_rest
    for path, answer in zip(asked.files, ask(asked), strict=True):
        print(json.dumps({"file": str(path), **answer}))


def through_grpc(asked: argparse.Namespace) -> Iterator[Answer]:
    """Ask with Convoy's client, which knows the version that answered."""
    with Client(asked.grpc) as client:
        for found in client.stream(asked.files, model=asked.model):
            yield {
                "label": found.label,
                "probability": found.probability,
                "version": found.version,
            }


def through_rest(asked: argparse.Namespace) -> Iterator[Answer]:
    """Ask as any HTTP client would: base64 in JSON."""
    files = [{"b64": base64.b64encode(path.read_bytes()).decode()} for path in asked.files]
    body = json.dumps({"signature_name": "image_bytes", "instances": files}).encode()
    url = f"{asked.rest}/v1/models/{asked.model}:predict"
    with urllib.request.urlopen(url, body, timeout=30) as response:  # noqa: S310  # ours, http
        for found in json.load(response)["predictions"]:
            yield {"label": found["label"], "probability": max(found["probabilities"])}


if __name__ == "__main__":
    main()
