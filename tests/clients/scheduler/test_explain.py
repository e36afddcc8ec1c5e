"""Why a pod fits nowhere, in the words of Kubernetes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ursa.clients.scheduler.columns import NodeColumns
from ursa.clients.scheduler.explain import explain as explain_shape
from ursa.clients.scheduler.node_facts import read_node
from ursa.clients.scheduler.template import Template, Templates
from ursa.proto.objects import Object, encode

from .objects import node, picker, pod_spec, shape


def columns(*made: Object) -> NodeColumns:
    nodes = NodeColumns()
    nodes.set_open("rp-1", True)
    for each in made:
        nodes.set_node("rp-1", each.name, read_node(each))
    return nodes


def explain(nodes: NodeColumns, wanted: Template, unseen: Sequence[str] = ()) -> str:
    return explain_shape(nodes, picker(nodes).algorithm, shape(wanted), unseen)


def template(requests: dict[str, Any] | None = None, **spec: Any) -> Template:
    return Templates().of(encode(pod_spec(requests, **spec)))


def test_each_node_counts_under_what_keeps_the_pod_away() -> None:
    nodes = columns(
        node("a1", cpu="1", labels={"zone": "a"}),
        node("a2", cpu="1", labels={"zone": "a"}),
        node("a3", cpu="1", memory="1Gi", labels={"zone": "a"}),
        node("b1", labels={"zone": "b"}),
        node("c1"),
    )
    wants = template({"cpu": "2", "memory": "2Gi"}, nodeSelector={"zone": "a"})
    assert explain(nodes, wants) == (
        "0/5 nodes are available: 1 Insufficient memory, "
        "2 node(s) didn't match Pod's node affinity/selector, 3 Insufficient cpu."
    )


def test_nodes_out_of_use_count_first() -> None:
    nodes = columns(
        node("a", ready=False, unschedulable=True),
        node("b", unschedulable=True, cpu="0"),
        node("c", taints=[{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}]),
        node("d", pods=0),
    )
    nodes.set_node("rp-2", "e", read_node(node("e")))
    assert explain(nodes, template({"cpu": "1"})) == (
        "0/5 nodes are available: 1 Too many pods, 1 node(s) had untolerated taint {dedicated: gpu}, "
        "1 node(s) were in a resource partition out of reach, 1 node(s) were not ready, 1 node(s) were unschedulable."
    )


def test_a_resource_nobody_has_is_insufficient_everywhere() -> None:
    nodes = columns(node("a"), node("b"))
    assert explain(nodes, template({"example.com/fpga": 1})) == (
        "0/2 nodes are available: 2 Insufficient example.com/fpga."
    )


def test_a_node_whose_partition_refused_the_pod_is_named_so() -> None:
    nodes = columns(node("a"))
    wants = template({"cpu": "1"})
    nodes.refuse(nodes.slot("rp-1", "a"), wants.id)
    assert explain(nodes, wants) == "0/1 nodes are available: 1 node(s) were taken by another scheduler."


def test_without_nodes_and_with_partitions_still_unseen() -> None:
    assert explain(columns(), template(), ["rp-2"]) == "no nodes available to schedule pods. Not seen yet: rp-2."


def test_a_pod_that_cannot_be_understood() -> None:
    assert "much" in explain(columns(node("a")), template({"cpu": "much"}))
