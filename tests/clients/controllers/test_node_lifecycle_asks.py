"""A view may stand still although all is well: before a node loses its pods, its partition is asked."""

from __future__ import annotations

from unittest import mock

import trio
from ursa.clients.informer import Informer
from ursa.proto import ursa_pb2 as pb

from .region import open_region, run
from .test_node_lifecycle import LEASES, manager, pod_on, terminating


def test_a_node_whose_lease_is_renewed_unseen_keeps_its_pods() -> None:
    real = Informer.on_batch

    def without_news_of_n1(self: Informer, batch: pb.WatchBatch, resource_version: int, incarnation: str) -> None:
        told = pb.WatchBatch()
        told.CopyFrom(batch)
        if self.resource == LEASES and not batch.initial_events_end:
            del told.events[:]
            told.events.extend(event for event in batch.events if event.object.metadata.name != "n1")
        real(self, told, resource_version, incarnation)

    async def main() -> None:
        async with open_region() as region, manager(region, "n1", "n2") as kubelets:
            await pod_on(region, "web", "n1")
            await trio.sleep(20)
            with mock.patch.object(Informer, "on_batch", without_news_of_n1):
                await trio.sleep(300)
                assert await terminating(region) == []
            await trio.sleep(20)
            kubelets.alive.remove("n1")
            await trio.sleep(150)
            assert await terminating(region) == ["web"]

    run(main)
