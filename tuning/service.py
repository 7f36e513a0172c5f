"""The chief's gRPC services: KerasTuner's Oracle, and what it lacks to survive a worker's loss.

A worker of KerasTuner's own is served too, by the first alone. Ours also join, tell that they live
and leave by the second, in JSON; how an attempt ended, and whose it was, goes with EndTrial.
"""

import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from keras_tuner.src.engine.metrics_tracking import MetricsTracker

from tuning.chief import Chief
from tuning.messages import Status, assignment_values, rpc, service, trial_message
from tuning.trial import Assignment, Outcome, Trial

MEMBERS = "convoy.Members"  # the second service: Join, Renew, Leave
OUTCOME = "convoy-outcome-bin"  # metadata of EndTrial: {"worker", "outcome"}
SEARCH = "convoy-search-bin"  # metadata of both services: which search a worker has joined
THREADS = 128  # each worker that waits for a trial holds one for a second
Json = dict[str, Any]


@dataclass(frozen=True)
class Terms:
    """What a worker learns when it joins."""

    run: str  # the search's directory, below the directory of all runs
    config: str  # its job file, resolved
    lease_seconds: float


class AddressRefused(Exception):
    """The chief cannot listen where it should."""


class OracleService(rpc.OracleServicer):
    """KerasTuner's protocol, carried out by a chief."""

    def __init__(self, chief: Chief, run: str) -> None:
        """`run` names the search: who has joined another one is refused."""
        self._chief, self._study, self._run = chief, chief.study, run
        self._metrics: dict[str, MetricsTracker] = {}  # by trial, of KerasTuner's workers

    def GetSpace(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Give the space; it is declared up front and never changes."""
        space = self._study.oracle.get_space().to_proto()
        return service.GetSpaceResponse(hyperparameters=space)

    def UpdateSpace(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Take no dimension that the job does not name: trials in parallel would differ by it."""
        return service.UpdateSpaceResponse()

    def CreateTrial(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Give a worker its trial, IDLE when there is none now, STOPPED when there is none left."""
        self._check_search(context)
        with _told(context):
            assignment = self._chief.take(request.tuner_id)
        if assignment is not None:
            self._metrics.pop(assignment.trial, None)  # those of an attempt before
            return service.CreateTrialResponse(trial=self._running(assignment))
        over = self._study.is_over
        if over:
            self._chief.dismiss(request.tuner_id)
        status = Status.STOPPED if over else Status.IDLE
        return service.CreateTrialResponse(trial=self._message("", {}, status))

    def UpdateTrial(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Keep the metrics that a worker reports."""
        self._running_trial(request.trial_id, context)
        objective = self._study.config.objective
        if objective not in request.metrics:
            found = ", ".join(sorted(request.metrics)) or "nothing"
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"the objective {objective} is missing among the reported metrics: {found}",
            )
        direction = "min" if self._study.config.lowest_is_best else "max"
        metrics = self._metrics.setdefault(request.trial_id, MetricsTracker())
        for name, value in request.metrics.items():
            if not metrics.exists(name):
                metrics.register(name, direction=direction if name == objective else None)
            metrics.metrics[name].update(value, request.step)  # its own update warns of NaN
        if holder := self._chief.leases.holder(request.trial_id):
            score = request.metrics[objective]
            self._chief.hear(request.trial_id, holder, request.step, score)
        return service.UpdateTrialResponse(trial=self._found(request.trial_id, context))

    def EndTrial(self, request: Any, context: grpc.ServicerContext) -> Any:
        """End an attempt."""
        self._check_search(context)
        trial = request.trial.trial_id
        told = json.loads(dict(context.invocation_metadata()).get(OUTCOME, b"null"))
        with _told(context):
            if told is not None:
                self._chief.finish(trial, told["worker"], Outcome(**told["outcome"]))
            else:
                self._chief.finish(trial, None, self._outcome(trial, request.trial.status))
        return service.EndTrialResponse()

    def GetTrial(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Give a trial that runs or has ended."""
        return service.GetTrialResponse(trial=self._found(request.trial_id, context))

    def GetBestTrials(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Give the best completed trials, and no others: a failed one is not among the best."""
        best = [t for t in self._study.ranked() if t.state == "COMPLETED"][: request.num_trials]
        return service.GetBestTrialsResponse(trials=[self._ended(trial) for trial in best])

    def _check_search(self, context: grpc.ServicerContext) -> None:
        joined = dict(context.invocation_metadata()).get(SEARCH, self._run.encode())
        if joined != self._run.encode():
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"this chief holds the search {self._run}, and the worker is of {joined!r}",
            )

    def _outcome(self, trial: str, status: int) -> Outcome:
        """Tell from KerasTuner's status and metrics how an attempt ended."""
        found, objective = Status.from_proto(status), self._study.config.objective
        metrics = self._metrics.get(trial, MetricsTracker())
        if found == Status.FAILED:
            return Outcome("raised", reason="its worker reported it as failed")
        if found != Status.COMPLETED or not metrics.exists(objective):
            return Outcome("killed", reason=f"its worker reported it as {found}, without a score")
        told = {seen.mean(): seen.step for seen in metrics.get_history(objective)}
        if not (finite := [float(value) for value in told if math.isfinite(value)]):
            return Outcome("raised", reason=f"{objective} became {next(iter(told))}")
        best = min(finite) if self._study.config.lowest_is_best else max(finite)
        return Outcome("scored", best, told[best])

    def _found(self, trial: str, context: grpc.ServicerContext) -> Any:
        if (ended := self._study.trials.get(trial)) is not None:
            return self._ended(ended)
        return self._running(self._running_trial(trial, context))

    def _running_trial(self, trial: str, context: grpc.ServicerContext) -> Assignment:
        assignment = self._study.running.get(trial)
        if assignment is None:
            _refuse(context, f"no trial {trial!r} runs in this search")
        return assignment

    def _running(self, assignment: Assignment) -> Any:
        made = self._study.oracle.trials.get(assignment.trial)
        drawn = made.hyperparameters.values if made else {}
        values = assignment_values(assignment, drawn)
        message = self._message(assignment.trial, values, Status.RUNNING)
        if (metrics := self._metrics.get(assignment.trial)) is not None:
            message.metrics.CopyFrom(metrics.to_proto())
        return message

    def _ended(self, trial: Trial) -> Any:
        status = Status.COMPLETED if trial.state == "COMPLETED" else Status.FAILED
        message = self._message(trial.id, trial.values, status)
        if trial.score is not None:
            message.score.value = trial.score
        return message

    def _message(self, trial: str, values: Json, status: str) -> Any:
        return trial_message(self._study.oracle.get_space(), trial, values, status)


def members(chief: Chief, terms: Terms) -> grpc.GenericRpcHandler:
    """Give the service by which our workers join, tell that they live and leave."""

    def join(request: Json) -> Json:
        return terms.__dict__

    def renew(request: Json) -> Json:
        return {"held": chief.hear(**request), "cut": chief.study.cut}

    def leave(request: Json) -> Json:
        chief.leave(request["worker"])
        return {}

    methods = {"Join": _answer(join), "Renew": _answer(renew), "Leave": _answer(leave)}
    return grpc.method_handlers_generic_handler(MEMBERS, methods)


@contextmanager
def listening(chief: Chief, terms: Terms, address: str) -> Iterator[int]:
    """Serve a chief for the length of the block; gives the port, a free one where it is 0.

    Raises AddressRefused when the address cannot be had.
    """
    server = grpc.server(ThreadPoolExecutor(THREADS), options=[("grpc.so_reuseport", 0)])
    rpc.add_OracleServicer_to_server(OracleService(chief, terms.run), server)
    server.add_generic_rpc_handlers([members(chief, terms)])
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        raise AddressRefused(
            f"cannot listen at {address}: it is in use, or not an address of this host"
        ) from None
    server.start()
    try:
        yield port
    finally:
        server.stop(grace=1).wait()


def _answer(method: Callable[[Json], Json]) -> "grpc.RpcMethodHandler[Json, Json]":
    def handle(request: Json, context: grpc.ServicerContext) -> Json:
        with _told(context):
            return method(request)

    return grpc.unary_unary_rpc_method_handler(handle, json.loads, to_bytes)


def to_bytes(message: Json) -> bytes:
    """Write a message of our own service."""
    return json.dumps(message).encode()


@contextmanager
def _told(context: grpc.ServicerContext) -> Iterator[None]:
    """Let a worker wait for the next chief where this one is broken."""
    try:
        yield
    except Exception as problem:
        context.abort(grpc.StatusCode.UNAVAILABLE, f"{type(problem).__name__}: {problem}")


def _refuse(context: grpc.ServicerContext, message: str) -> NoReturn:
    context.abort(grpc.StatusCode.NOT_FOUND, message)
