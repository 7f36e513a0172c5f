"""The processes that benchmarks/serving.py compares: a bare gRPC server, and the embedded server.

    python benchmarks/parties/servers.py echo RESPONSE_FILE
    python benchmarks/parties/servers.py ours STORE

Each prints its address and serves until SIGTERM.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[2]))  # run from a checkout, installed or not

from serving.wire import predict_pb2


@contextmanager
def running(party: str, argument: Path) -> Iterator[str]:
    """A process of this file as one of the parties; gives the address it prints when ready."""
    command = [sys.executable, __file__, party, str(argument)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        if process.stdout is None or not (address := process.stdout.readline().strip()):
            raise RuntimeError(f"{party} ended before it was ready")
        yield address
    finally:
        process.terminate()
        process.communicate()


def echo(response: Path) -> None:
    """Serve gRPC in as few lines as Python allows; prints its address."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    answered = predict_pb2.PredictResponse.FromString(response.read_bytes())
    handler = grpc.unary_unary_rpc_method_handler(
        lambda request, context: answered,
        predict_pb2.PredictRequest.FromString,
        predict_pb2.PredictResponse.SerializeToString,
    )
    server = grpc.server(ThreadPoolExecutor(64))
    service = grpc.method_handlers_generic_handler(
        "tensorflow.serving.PredictionService", {"Predict": handler}
    )
    server.add_generic_rpc_handlers([service])
    print(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", flush=True)
    server.start()
    server.wait_for_termination()


def ours(store: Path) -> None:
    """Serve the store with the embedded server; prints its address."""
    from serving.server import serve
    from serving.settings import Listen, of_store

    settings = of_store(store, Listen(port=0, rest_port=None))
    serve(settings, lambda server: print(server.grpc_address, flush=True))


if __name__ == "__main__":
    {"echo": echo, "ours": ours}[sys.argv[1]](Path(sys.argv[2]))
