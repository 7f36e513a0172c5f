"""A gRPC method whose answer is sent by whoever has computed it, so that no thread waits for it.

gRPC's Python server holds a thread for every request under way. Only methods that stream their
answers may return before they have answered (`experimental_non_blocking`, unchanged since gRPC
1.29); on the wire a stream of one answer is what a single answer is.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc import _server

from serving.errors import RequestError

Start = Callable[[Any, grpc.ServicerContext, Callable[[Any], None]], None]


def deferred(
    name: str, start: Start, request: Any, response: Any, threads: ThreadPoolExecutor
) -> grpc.GenericRpcHandler:
    """Handle the method of that full name ("/package.Service/Method").

    `start` is called in one of `threads` with the request, its context, and a function that it, or
    anyone later, gives the response or a RequestError. `request`, `response`: message classes.
    """

    def begin(message: Any, context: Any, send: Callable[[Any], None]) -> None:
        start(message, context, lambda outcome: _end(outcome, context, send))

    begin.experimental_non_blocking = True  # type: ignore[attr-defined]
    begin.experimental_thread_pool = threads  # type: ignore[attr-defined]
    handler = grpc.unary_stream_rpc_method_handler(
        begin, request.FromString, response.SerializeToString
    )
    _, service, method = name.split("/")
    return grpc.method_handlers_generic_handler(service, {method: handler})


def _end(outcome: Any, context: Any, send: Callable[[Any], None]) -> None:
    if isinstance(outcome, RequestError):
        context.set_code(grpc.StatusCode[outcome.code])
        context.set_details(outcome.message)
    elif hasattr(_server, "_status") and hasattr(context, "_rpc_event"):
        # Answer and status in one go, as gRPC's own unary methods send them: `send` would wait
        # until the answer has left before it could send the status.
        _server._status(context._rpc_event, context._state, outcome.SerializeToString())
        return
    else:
        send(outcome)
    send(None)
