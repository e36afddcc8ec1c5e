"""A recording of a run that never was, of any length: pods that come, are bound, run and go, and who looks at them.

One tenant and one resource partition. Each pod is created for a ReplicaSet, placed, bound, Running, marked and deleted;
a scheduler and a controller watch all pods, and a kubelet those of each node; clients get and list between.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import encode
from ursa.tools.recording.records import (
    ADDED,
    CONSISTENT,
    DELETED,
    MODIFIED,
    Complete,
    Event,
    Finished,
    Get,
    Instance,
    Listed,
    Logged,
    Opened,
    Record,
    Selection,
    Watched,
    WatchStarted,
    Write,
)

NODES = 50
SETS = 200
ALIVE_MAX = 1500
TENANT, RESOURCE = "tp-1", "rp-1"
POD_SPEC = {
    "containers": [
        {"name": "c", "image": "registry/app:1", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}
    ]
}
RUNNING = encode(
    {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "c", "ready": True, "restartCount": 0, "state": {"running": {}}}],
    }
)
PENDING = encode({"phase": "Pending"})


@dataclass
class _Lane:
    """A watch on a stream of its own, and what it has not been told of yet."""

    client: str
    watch: int
    events: list[Event] = field(default_factory=list)


class _Log:
    def __init__(self, partition: str) -> None:
        self.partition = partition
        self.revision = 0
        self.state: dict[str, tuple[int, int, int]] = {}  # create, newest, crc


class Synthetic:
    """Draws about so many operations."""

    def __init__(self, operations: int, seed: int = 1) -> None:
        self._left = operations
        self._random = Random(seed)
        self._now = 0.0
        self._requests = 0
        self._logs = {name: _Log(name) for name in (TENANT, RESOURCE)}
        self._lanes = [_Lane("scheduler#1", 1), _Lane("controller-manager#1", 2)]
        self._kubelets = [_Lane("hollow-nodes#1", 3 + number) for number in range(NODES)]
        self._alive: list[tuple[str, int]] = []
        self._pods: dict[str, tuple[pb.Object, pb.Object]] = {}
        self._count = 0

    def records(self) -> Iterator[Record]:
        for name in self._logs:
            yield Opened(name, "main", "i", 0, 0.0)
        for lane in (*self._lanes, *self._kubelets):
            node = lane.watch - 3
            fields = f"spec.nodeName=node-{node}" if node >= 0 else ""
            selection = Selection("pods", field_selector=fields)
            yield WatchStarted(lane.client, TENANT, self._tick(), lane.watch, lane.watch, selection, 0, True)
            yield Watched(lane.client, TENANT, self._tick(), lane.watch, lane.watch, "main", "i", (), True, 0)
        yield from self._beginning()
        while self._left > 0:
            if len(self._alive) < ALIVE_MAX and self._random.random() < 0.55:
                yield from self._create()
            elif self._alive:
                yield from self._delete()
            yield from self._reads()
        for lane in (*self._lanes, *self._kubelets):
            yield from self._flush(lane)
        for name, log in self._logs.items():
            yield Complete(name, "main", "i", 0, log.revision)
        yield Finished(self._tick())

    def _tick(self) -> float:
        self._now += 0.0001
        return self._now

    # ------------------------------------------------------------------------------------------------------- writes

    def _beginning(self) -> Iterator[Record]:
        for number in range(NODES):
            status = encode({"allocatable": {"cpu": "64", "memory": "256Gi", "pods": "200"}})
            node = pb.Object(
                kind="Node", metadata=pb.ObjectMeta(name=f"node-{number}", uid=f"n{number}"), status=status
            )
            yield from self._write(RESOURCE, "create", "nodes", "", node)
        for number in range(SETS):
            metadata = pb.ObjectMeta(name=f"set-{number}", namespace="n", tenant="t", uid=f"s{number}")
            replica_set = pb.Object(kind="ReplicaSet", metadata=metadata, spec=encode({"replicas": ALIVE_MAX}))
            yield from self._write(TENANT, "create", "replicasets.apps", "t/n", replica_set)

    def _create(self) -> Iterator[Record]:
        self._count += 1
        name, number = f"pod-{self._count}", self._random.randrange(NODES)
        uid = f"00000000-0000-4000-8000-{self._count:012x}"
        owner_number = self._count % SETS
        owner = pb.OwnerReference(
            kind="ReplicaSet", name=f"set-{owner_number}", uid=f"s{owner_number}", controller=True
        )
        metadata = pb.ObjectMeta(
            name=name, namespace="n", tenant="t", uid=uid, labels={"app": f"a{owner_number}"}, owner_references=[owner]
        )
        owner.api_version = "apps/v1"
        pod = pb.Object(api_version="v1", kind="Pod", metadata=metadata, spec=encode(POD_SPEC), status=PENDING)
        yield from self._write(TENANT, "create", "pods", "t/n", pod)
        requests = {"cpu": 100, "memory": 64 << 20, "pods": 1}
        spec = encode(
            {"node": f"node-{number}", "nodeUID": f"n{number}", "tenantPartition": TENANT, "requests": requests}
        )
        placement = pb.Object(kind="Placement", metadata=pb.ObjectMeta(name=uid, uid=f"p{self._count}"), spec=spec)
        yield from self._write(RESOURCE, "create", "placements.ursa.dev", "", placement)
        pod.spec = encode(POD_SPEC | {"nodeName": f"node-{number}", "resourcePartition": RESOURCE})
        yield from self._write(TENANT, "bind", "pods", "t/n", pod, kubelet=number, enters=True)
        pod.status = RUNNING
        key = f"/registry/pods/t/n/{name}"
        yield Instance("hollow-nodes#1", self._tick(), RESOURCE, f"node-{number}", TENANT, uid, key, started=True)
        yield from self._write(TENANT, "update", "pods", "t/n", pod, kubelet=number)
        self._pods[name] = pod, placement
        self._alive.append((name, number))

    def _delete(self) -> Iterator[Record]:
        place = self._random.randrange(len(self._alive))
        name, number = self._alive[place]
        self._alive[place] = self._alive[-1]
        self._alive.pop()
        pod, placement = self._pods.pop(name)
        pod.metadata.deletion_ms = 1
        yield from self._write(TENANT, "delete", "pods", "t/n", pod, kubelet=number)
        key = f"/registry/pods/t/n/{name}"
        uid = pod.metadata.uid
        yield Instance("hollow-nodes#1", self._tick(), RESOURCE, f"node-{number}", TENANT, uid, key, started=False)
        yield from self._write(TENANT, "delete", "pods", "t/n", pod, kubelet=number, deleted=True)
        yield from self._write(RESOURCE, "delete", "placements.ursa.dev", "", placement, deleted=True)

    def _write(
        self,
        partition: str,
        verb: str,
        resource: str,
        scope: str,
        message: pb.Object,
        *,
        kubelet: int | None = None,
        enters: bool = False,
        deleted: bool = False,
    ) -> Iterator[Record]:
        log = self._logs[partition]
        self._requests += 1
        self._left -= 1
        log.revision += 1
        revision, request_id = log.revision, b"synthetic" + self._requests.to_bytes(5, "big")
        metadata = message.metadata
        metadata.resource_version, metadata.request_id = revision, request_id
        key = f"/registry/{resource}/{scope or '/'}/{metadata.name}"
        data = message.SerializeToString(deterministic=True)
        crc = zlib.crc32(data)
        create, previous, _ = log.state.get(key, (revision, 0, 0))
        if deleted:
            del log.state[key]
        else:
            log.state[key] = create, revision, crc
        call = self._tick()
        yield Logged(partition, "main", "i", revision, key, deleted, create, previous, data, self._tick())
        write = Write(f"writer-{self._requests % 20}#1", partition, call, self._tick(), verb, resource, key, request_id)
        yield write._replace(store="main", incarnation="i", revision=revision, uid=metadata.uid)
        if resource == "pods":
            kind = DELETED if deleted else MODIFIED if previous else ADDED
            for lane in self._lanes:
                yield from self._tell(lane, (kind, key, revision, revision, crc))
            if kubelet is not None:
                kind = ADDED if enters else kind
                yield from self._tell(self._kubelets[kubelet], (kind, key, revision, revision, crc))

    # ------------------------------------------------------------------------------------------------------ watches

    def _tell(self, lane: _Lane, event: Event) -> Iterator[Record]:
        lane.events.append(event)
        if len(lane.events) >= 4:
            yield from self._flush(lane)

    def _flush(self, lane: _Lane) -> Iterator[Record]:
        self._left -= 1
        bookmark = self._logs[TENANT].revision
        events = tuple(lane.events)
        lane.events.clear()
        yield Watched(lane.client, TENANT, self._tick(), lane.watch, lane.watch, "main", "i", events, False, bookmark)

    # -------------------------------------------------------------------------------------------------------- reads

    def _reads(self) -> Iterator[Record]:
        log = self._logs[TENANT]
        for _ in range(2 if self._alive else 0):
            self._left -= 1
            name, _ = self._random.choice(self._alive)
            key = f"/registry/pods/t/n/{name}"
            _, newest, crc = log.state[key]
            call = self._tick()
            get = Get("reader#1", TENANT, call, self._tick(), key, CONSISTENT, 0, 200, "main", "i")
            yield get._replace(revision=log.revision, object_revision=newest, crc=crc)
        if self._random.random() < 0.005:
            self._left -= 1
            pods = sorted((key, newest, crc) for key, (_, newest, crc) in log.state.items() if "/pods/" in key)
            call = self._tick()
            listed = Listed("reader#1", TENANT, call, self._tick(), Selection("pods"), CONSISTENT, 0, 200, "main", "i")
            yield listed._replace(revision=log.revision, items=tuple(pods))
