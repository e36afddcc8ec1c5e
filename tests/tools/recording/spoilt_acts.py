"""Recordings in which a scheduler, a controller or a client has done what it must not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ursa.tools.recording.records import Finished, Logged, Record, Selection, WatchStarted, Write

from .led_run import granted, led, written
from .recorded_run import recorded_run
from .spoilt import breaks, last_of, of, truth, with_objects_edited


@breaks("Bound where placed")
def a_pod_is_bound_where_it_never_had_a_placement() -> Iterable[Record]:
    records = truth(recorded_run())
    placement = last_of(records, "placements.ursa.dev")[0]

    def move(manifest: dict[str, Any]) -> None:
        manifest["spec"]["node"] = "elsewhere"

    return with_objects_edited(records, lambda each: each.key == placement.key, move)


@breaks("One claim at a time")
def a_scheduler_claims_elsewhere_while_its_claim_may_stand() -> list[Record]:
    claim = next(each for each in of(Write, recorded_run()) if each.resource == "placements.ursa.dev")
    elsewhere = "rp-2" if claim.partition == "rp-1" else "rp-1"
    refused = claim._replace(
        partition=elsewhere, call=claim.ret + 0.001, ret=claim.ret + 0.002, request_id=b"another", code=409
    )
    return [*recorded_run(), refused._replace(reason="Conflict", incarnation="", revision=0, uid="", crc=0)]


@breaks("Nothing that lives is deleted")
def a_controller_deletes_a_pod_that_its_replicaset_asks_for() -> list[Record]:
    def ask_for_all(manifest: dict[str, Any]) -> None:
        manifest["spec"]["replicas"] = 8

    def is_one(each: Logged) -> bool:
        return each.key.startswith("/registry/replicasets.apps/other/")

    # Who deleted it is known by its write alone.
    writes = [each._replace(crc=0) for each in of(Write, recorded_run())]
    return [*writes, *with_objects_edited(truth(recorded_run()), is_one, ask_for_all)]


@breaks("Losing sight evicts nothing")
def controllers_of_nodes_delete_pods_of_nodes_that_live() -> list[Record]:
    writes = [
        each._replace(crc=0, client=each.client.replace("controller-manager-tp-", "controller-manager-rp-"))
        for each in of(Write, recorded_run())
    ]
    return [*writes, *truth(recorded_run())]


@breaks("Deposed leaders write nothing")
def a_leader_writes_although_another_leads() -> list[Record]:
    return led(granted(1, "one", 1), granted(2, "two", 2, after=1), written(3, "one", 1))


@breaks("Terms rise")
def a_lease_is_taken_without_a_new_term() -> list[Record]:
    return led(granted(1, "one", 1), written(2, "one", 1), granted(3, "two", 1, after=1), written(4, "two", 1))


@breaks("Silence is noticed")
def a_stream_says_nothing_and_is_not_given_up() -> list[Record]:
    return [WatchStarted("kubelet#1", "tp-1", 1.0, 1, 1, Selection("pods")), Finished(90.0)]
