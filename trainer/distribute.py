"""One network on several devices or machines: the strategy, and what lets Keras 3.15 follow it.

`fit` and `evaluate` of Keras 3.15 fail under several workers (keras-team/keras#20585), so a network
that trains on many replicas is a `ReplicatedModel`, which replaces two private hooks of Keras.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from trainer.cluster import Cluster
from trainer.config import JitMode

Strategy = Any  # tf.distribute.Strategy


def choose(cluster: Cluster | None = None) -> tuple[Strategy | None, str]:
    """Give the strategy for this machine or cluster, and one sentence that says why.

    None stands for a single device. With a cluster, call it before TensorFlow runs anything else:
    it waits until every worker is there.
    """
    if cluster is not None and len(cluster.workers) > 1:
        place = f"worker {cluster.index} of {len(cluster.workers)}"
        return _several_workers(cluster), f"{place}: MultiWorkerMirroredStrategy"
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        return mirrored([gpu.name for gpu in gpus]), f"{len(gpus)} GPUs: MirroredStrategy"
    return None, "one GPU" if gpus else "no GPU: the CPU"


def mirrored(devices: Sequence[str]) -> Strategy:
    """Give a strategy that trains a copy of the network on each device of this process."""
    return tf.distribute.MirroredStrategy(list(devices))


def _several_workers(cluster: Cluster) -> Strategy:
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.workers)}),
        task_type="worker",
        task_id=cluster.index,
        rpc_layer="grpc",
    )
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)


class ReplicatedModel(keras.Model):
    """A network that `fit` and `evaluate` run on every replica of the strategy it was made under.

    Batch normalization takes its statistics over all replicas, as if one device had the batch.
    """

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Build metrics and optimizer from the data's types: a distributed batch cannot be used."""
        if iterator is not None:
            spec = iterator.data_adapter.get_tf_dataset().element_spec
            data_batch = keras.tree.map_structure(_of_any_batch_size, spec)
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=data_batch)

    def _make_function(self, step: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
        """Give what takes a batch from an iterator and runs a step on every replica."""

        @tf.function(reduce_retracing=True, autograph=False)
        def step_on_replicas(iterator: Any) -> tf.Tensor:
            batch = iterator.get_next_as_optional()

            def run() -> tf.Tensor:
                self.distribute_strategy.run(step, args=(batch.get_value(),))
                return tf.constant(True)

            return tf.cond(batch.has_value(), run, lambda: tf.constant(False))

        def function(iterator: Any) -> dict[str, tf.Tensor]:
            if not step_on_replicas(iterator):
                raise StopIteration
            return {}

        return function

    def _get_metrics_result_or_logs(self, logs: Any) -> dict[str, Any]:
        """Give the metrics of all replicas, read once at the end: at each step it is slow."""
        return self.get_metrics_result()


def replicate(network: keras.Model) -> ReplicatedModel:
    """Give a network with the same layers that trains on the replicas of the current strategy.

    Call it in the strategy's scope, in which `network` was built too.
    """
    model = ReplicatedModel(network.input, network.output, name=network.name)
    model.dtype_policy = network.dtype_policy  # compile scales the loss by it
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
    return model


def reduce_gradients_first(optimizer: Any) -> None:
    """Let an optimizer work on the sum of the replicas' gradients.

    Keras adds them up last, so that clipping, accumulation and the search for gradients that are
    not finite would judge each replica's share alone: one bad share then blocks the workers or
    leaves them with different weights.
    """
    apply = optimizer.apply

    def apply_sum(gradients: Any, trainable_variables: Any = None) -> None:
        apply(_sum_over_replicas(list(gradients)), trainable_variables)

    optimizer.apply = apply_sum
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # LossScaleOptimizer's
    inner._all_reduce_sum_gradients = list


def check_jit(strategy: Strategy, jit: JitMode) -> None:
    """Raise ValueError where the step is asked to be compiled, and replicas would not do so."""
    if jit == "on" and strategy.num_replicas_in_sync > 1:
        raise ValueError(
            'train.jit = "on" does nothing on several devices, whose step is not compiled: leave '
            "it out, or train on one"
        )


def check_steps(strategy: Strategy, batch_size: int, accumulation_steps: int) -> None:
    """Raise ValueError unless the replicas can share out a batch, and accumulate gradients."""
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise ValueError(
            f"train.batch_size is {batch_size} and counts the examples of a step on all devices "
            f"together; {replicas} devices need a multiple of {replicas}, such as "
            f"{max(1, round(batch_size / replicas)) * replicas}"
        )
    with strategy.scope():
        merges = not tf.__internal__.distribute.strategy_supports_no_merge_call()
    if replicas > 1 and accumulation_steps > 1 and merges:
        raise ValueError(
            f"train.accumulation_steps is {accumulation_steps}, and Keras cannot accumulate "
            f"gradients over {replicas} such devices: set it to 1 and lower train.batch_size"
        )


def shared_out(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Let every worker read all examples and take its share of each batch."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.with_options(options)


def _of_any_batch_size(spec: tf.TensorSpec) -> tf.TensorSpec:
    return tf.TensorSpec([None, *spec.shape[1:]], spec.dtype)


def _sum_over_replicas(gradients: list[Any]) -> list[Any]:
    present = [gradient for gradient in gradients if gradient is not None]
    summed = iter(tf.distribute.get_replica_context().all_reduce("SUM", present))
    return [None if gradient is None else next(summed) for gradient in gradients]
