"""What a recording says that informers hold."""

from __future__ import annotations

import trio
from ursa.clients.informer import Informer
from ursa.storage import Change, MemoryStore
from ursa.tools.recording import Recorder
from ursa.tools.recording.records import View

from ...clients.worlds import World, pod, run

SETTLE_SECONDS = 60


def test_an_informer_that_is_taking_a_view_again_says_nothing() -> None:
    """What it holds meanwhile is partly of the old view and partly of the new one: of no revision."""
    recorder = Recorder()

    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            informer = Informer(world.client, "pods")
            informer.add_handler(lambda _: recorder.view("user#1", informer))
            await world.writer.create(pod("a"))
            nursery.start_soon(informer.run)
            await informer.wait_synced()
            recorder.view("user#1", informer)
            another = MemoryStore(incarnation="another")
            for record in world.store.range("/registry/"):
                if "/pods/" not in record.key:
                    another.stage([Change(record.key, record.value)])
            another.commit(lambda _: None)
            await world.restart(another)
            await world.writer.create(pod("b"))
            await trio.sleep(SETTLE_SECONDS)
            recorder.view("user#1", informer)
            await world.writer.create(pod("c"))
            await trio.sleep(SETTLE_SECONDS)
            nursery.cancel_scope.cancel()
        recorder.finish()

    run(main)
    views = [record for record in recorder.records if isinstance(record, View)]
    names = [[key.rsplit("/", 1)[1] for key, *_ in view.items] for view in views]
    assert names == [["a"], ["b"], ["b", "c"]]
