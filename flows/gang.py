"""The tasks of one training in a Ray cluster: one, or one on each of the nodes that make its updates together."""

import contextlib
from typing import Any

from rnnpipe.exchange import Listing
from rnnpipe.nodes import train_on_node
from rnnpipe.orders import Answer, Order

GRACE_S = 20.0  # what a training gets to leave a checkpoint
LOST_NODES = 100  # so often a training goes on elsewhere: spot machines may go at any time


def train_here(order: str) -> str:
    """Do a node's part of a training, known by the address by which its cluster knows it."""
    import ray

    return train_on_node(order, str(ray.util.get_node_ip_address()))


class Gang:
    """Tasks that stand for one training: the first one's answer is the training's."""

    def __init__(self, ray: Any, order: Order, needs: dict[str, float]) -> None:
        """Submit them; a node that has a task has what it `needs`, as Ray names it."""
        self._ray, self._group, nodes = ray, None, order.config.execution.ray.nodes
        strategy: Any = "SPREAD"
        if nodes > 1:
            from ray.util.placement_group import placement_group
            from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

            self._group = placement_group([needs] * nodes, strategy="STRICT_SPREAD")  # all at once or none
            strategy = PlacementGroupSchedulingStrategy(self._group)
        task = ray.remote(train_here).options(
            num_cpus=needs["CPU"], num_gpus=needs["GPU"], memory=needs.get("memory"), max_retries=LOST_NODES,
            scheduling_strategy=strategy,
        )  # fmt: skip
        orders = [order.model_copy(update={"node": node}) for node in range(nodes)]
        self.references: list[Any] = [task.remote(each.model_dump_json()) for each in orders]
        self._open = list(self.references)

    def result(self, timeout_s: float) -> Listing | None:
        """Return what the training has left, once it has; raise what stopped any of the tasks."""
        ready, self._open = self._ray.wait(self._open, timeout=timeout_s)
        for reference in ready:
            listing = Answer.model_validate_json(self._ray.get(reference)).result()
            if reference == self.references[0]:
                return listing
        return None

    def cancel(self) -> None:
        """Ask what leads to stop: it leaves a checkpoint."""
        self._cancel(self.references[:1])

    def end(self) -> None:
        """Stop what is under way, first what leads, for the sake of its checkpoint, and give the nodes back."""
        leading = self.references[0]
        if leading in self._open:
            self.cancel()
            with contextlib.suppress(Exception):
                self._ray.wait([leading], timeout=GRACE_S)
        self._cancel(self.references[1:])
        if self._group is not None:
            from ray.util.placement_group import remove_placement_group

            with contextlib.suppress(Exception):
                remove_placement_group(self._group)

    def _cancel(self, references: list[Any]) -> None:
        for reference in references:
            if reference in self._open:
                with contextlib.suppress(Exception):  # nobody waits for it any more
                    self._ray.cancel(reference)
