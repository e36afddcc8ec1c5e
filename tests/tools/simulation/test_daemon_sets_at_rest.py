"""What is demanded of DaemonSets once a run has come to rest."""

from __future__ import annotations

from ursa.clients.kubelet import hollow_node
from ursa.proto.objects import Object
from ursa.tools.simulation.settling import _of_daemon_sets

NODES = ("n1", "n2", "n3")


def _at(partition: str, manifest: dict[str, object]) -> Object:
    found = Object.from_dict(manifest)
    found.partition = partition
    return found


def _wrong(on: tuple[str, ...], *, updated: int, desired: int = 3) -> list[str]:
    nodes = [_at("rp-1", hollow_node(name).to_dict()) for name in NODES]
    metadata = {"name": "agent", "namespace": "default", "tenant": "system", "uid": "agent-uid"}
    status = {"desiredNumberScheduled": desired, "updatedNumberScheduled": updated}
    agent = _at("rp-1", {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "status": status})
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "agent-uid", "controller": True}
    pods = []
    for number, node in enumerate(on):
        named = {"name": f"agent-{number}", "namespace": "default", "tenant": "system", "ownerReferences": [owner]}
        pods.append(_at("rp-1", {"apiVersion": "v1", "kind": "Pod", "metadata": named, "spec": {"nodeName": node}}))
    return list(_of_daemon_sets([agent], pods, nodes))


def test_every_node_has_one_pod_of_the_newest_template() -> None:
    assert not _wrong(NODES, updated=3)
    assert "2 of 3 pods are updated" in _wrong(NODES, updated=2)[0]
    assert _wrong(("n1", "n1", "n2"), updated=3)
    assert _wrong(NODES, updated=3, desired=2)


def test_where_a_node_has_no_room_an_update_may_wait() -> None:
    assert not _wrong(("n1", "n2"), updated=1)
