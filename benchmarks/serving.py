"""The embedded server against the cost of its parts: the bare model, and gRPC in Python.

    python benchmarks/serving.py [--seconds 3] [--rounds 5]

Three parties on this machine, the model being mnist_cnn (225,546 parameters, 28 x 28 x 1):
  raw   the model's callable in a loop, without any network
  echo  a bare gRPC server that parses the request and answers the same bytes
  ours  the embedded server, its defaults
Echo and ours each run in a process of their own, take turns, and the medians over the rounds count.

On two quiet cores with AVX512_BF16, on two days and machines: 0.27 and 0.28 ms above echo's and the
raw call's median for a lone caller (limit 0.3); 0.55 and 0.37 of echo's requests with 32 callers
(0.6, MISSED); 0.69 and 0.76 of the raw model's images (0.8, MISSED), the latter with two batches
side by side. Echo itself varies: on the second day it reached 4,400 and 6,100 requests a second in
two runs, ours 2,100 and 2,200. With a thread of gRPC waiting for each request it was 0.50 ms, 0.36
and 0.57 on the first day. What was found on the way:

- Most of a small model's time goes into waking threads. Of the old server's CPU a third was the
  kernel's, for futexes and task switches; it took 0.56-0.73 ms of a request where an answer by
  whoever computed it takes 0.40-0.50, and echo 0.15-0.22. On an idle machine a call of the model is
  up to twice as slow after a pause of 2 ms as in a loop.
- grpc.aio is no way out: its bare echo server reaches 1,619 requests a second where the one with
  threads reaches 4,120, both on a busy machine.
- With 32 callers a request takes 0.52 ms of the server's processor time: a third of it is Python's,
  a fifth the kernel's (switching threads), a quarter the model's, a tenth gRPC's own.

Two batches side by side against one, medians of four alternating rounds: 0.50 and 0.51 of echo's
requests with 32 callers, 0.86 and 0.64 of the raw model's images. One thread a call, not all cores:
0.08 ms for a lone caller instead of 0.33, but 0.46 of echo's requests, and a large model leaves
cores idle. No gain from 1, 2 or 8 threads that read requests instead of 4; and, with the old
server, from a leader that yields to arriving requests or waits 1 to 4 ms for more rows, and from
other switch intervals of the interpreter.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))  # run from a checkout, installed or not

from measuring import claims  # beside this file
from measuring.claims import Claim, at_least, at_most
from parties.network import MODEL, export, images, raw_model
from parties.servers import running

from serving.exchange import PREDICT, Target
from serving.load import Load, Measured, encode, measure
from serving.store import Store

CALLERS = {1: (1, 32), 32: (1, 4)}  # by rows in a request

Raw = dict[int, list[float]]  # seconds of a call in each round, by rows
Found = dict[tuple[str, int, int], list[Measured]]  # by party, rows, callers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        compare(Path(directory), options.seconds, options.rounds)


def compare(directory: Path, seconds: float, rounds: int) -> None:
    """Measure all three, print the table and the verdicts."""
    store = Store(directory / "models")
    store.publish(MODEL, export(directory / "export"))
    with running("ours", store.root) as our_address:
        responses = {rows: answer(our_address, images(rows)) for rows in (1, 32)}
        found = take_turns(directory, store, our_address, responses, seconds, rounds)
    report(*found)


def answer(address: str, array: Any) -> bytes:
    """The bytes of our server's response, for the echo server to give."""
    import grpc

    request, _ = encode(array, Target(MODEL), len(array))
    with grpc.insecure_channel(address) as channel:
        response: bytes = channel.unary_unary(PREDICT)(request)
    return response


def take_turns(
    directory: Path,
    store: Store,
    our_address: str,
    responses: dict[int, bytes],
    seconds: float,
    rounds: int,
) -> tuple[Raw, Found]:
    """Measure the three side by side, so that a busy machine is busy for all of them."""
    raw: Raw = {}
    found: Found = {}
    with raw_model(store) as call:
        for rows, response in responses.items():
            request, _ = encode(images(rows), Target(MODEL), rows)
            path = directory / "response"
            path.write_bytes(response)
            with running("echo", path) as echo_address:
                for _ in range(rounds):
                    raw.setdefault(rows, []).append(call(rows, seconds / 2))
                    for concurrency in CALLERS[rows]:
                        load = Load(request, rows, concurrency, seconds)
                        for party, address in (("echo", echo_address), ("ours", our_address)):
                            measured = measure(address, load)
                            found.setdefault((party, rows, concurrency), []).append(measured)
    return raw, found


def report(raw: Raw, found: Found) -> None:
    """Print the table, the verdicts, and the same as JSON."""
    print(f"{'':8}{'rows':>5}{'callers':>9}{'p50 ms':>9}{'p99 ms':>9}{'req/s':>9}{'images/s':>10}")
    for rows, times in raw.items():
        seconds = statistics.median(times)
        line = f"{seconds * 1e3:9.2f}{'':9}{1 / seconds:9.0f}{rows / seconds:10.0f}"
        print(f"{'raw':8}{rows:5}{'':9}{line}")
    for (party, rows, concurrency), runs in found.items():
        line = f"{median(runs, 50) * 1e3:9.2f}{median(runs, 99) * 1e3:9.2f}{rate(runs):9.0f}"
        print(f"{party:8}{rows:5}{concurrency:9}{line}{rate(runs) * rows:10.0f}")
    claims.report(verdicts(raw, found))


def verdicts(raw: Raw, found: Found) -> list[Claim]:
    """The claims, each a median over the rounds of what was measured in the same round."""
    ours, echo = found["ours", 1, 1], found["echo", 1, 1]
    added = [
        (mine.percentile(50) - bare.percentile(50) - call) * 1e3
        for mine, bare, call in zip(ours, echo, raw[1], strict=True)
    ]
    ours, echo = found["ours", 1, 32], found["echo", 1, 32]
    requests = [
        mine.requests_per_second / bare.requests_per_second
        for mine, bare in zip(ours, echo, strict=True)
    ]
    rows = [
        mine.rows_per_second * call / 32
        for mine, call in zip(found["ours", 32, 4], raw[32], strict=True)
    ]
    return [
        at_most("failed requests", failures(found), 0),
        at_most(
            "median latency above echo's and the raw call's, 1 caller, ms",
            statistics.median(added),
            0.3,
        ),
        at_least("requests/s as a share of echo's, 32 callers", statistics.median(requests), 0.6),
        at_least(
            "images/s as a share of the raw model's, 32 a request, 4 callers",
            statistics.median(rows),
            0.8,
        ),
    ]


def median(runs: list[Measured], percent: float) -> float:
    return statistics.median(run.percentile(percent) for run in runs)


def rate(runs: list[Measured]) -> float:
    return statistics.median(run.requests_per_second for run in runs)


def failures(found: Found) -> int:
    return sum(sum(run.failures.values()) for runs in found.values() for run in runs)


if __name__ == "__main__":
    main()
