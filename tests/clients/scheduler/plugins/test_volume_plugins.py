"""VolumeBinding and VolumeZone say of all nodes at once what plain functions say of one; and what is chosen fits."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.scheduler.framework.calls import FilterCall
from ursa.clients.scheduler.framework.interface import Plugin, Skip, Unresolvable
from ursa.clients.scheduler.plugins.volume_binding import VolumeBinding
from ursa.clients.scheduler.plugins.volume_zone import VolumeZone
from ursa.clients.scheduler.pod_volumes import choose, read_pod_volumes
from ursa.clients.scheduler.volume_pools import Pool
from ursa.clients.scheduler.volumes import POOLS_MAX, Taken, Volumes
from ursa.clients.volumes.matching import is_free, size_order
from ursa.clients.volumes.reading import Claim, NodePlace, Volume, read_claim, read_volume
from ursa.proto.objects import Object, ObjectKey
from ursa.proto.volumes import CLAIMS, VOLUMES

from . import naive_volumes
from .cases import CASES
from .volume_cases import VolumeCase, draw_claim, draw_volume

cases = st.integers(0, 2**48).map(VolumeCase)
many = settings(max_examples=CASES, deadline=None)


def in_pool(pool: Pool) -> dict[ObjectKey, dict[tuple[str, str], None]]:
    """Its volumes, and under what each is found."""
    found: dict[ObjectKey, dict[tuple[str, str], None]] = {}
    lists = [
        (("anywhere", ""), pool.anywhere),
        (("others", ""), pool.others),
        *(((key, value), each) for key, values in pool.by_label.items() for value, each in values.items()),
    ]
    for place, volumes in lists:
        assert volumes == sorted(volumes, key=size_order)
        for volume in volumes:
            found.setdefault(volume.key, {})[place] = None
    return found


def filtered(plugin: Plugin, case: VolumeCase) -> list[bool]:
    """By each way of asking, which must agree."""
    call, columns = FilterCall(plugin, trusted=False), case.columns
    state = call.state(case.shape, columns)
    if isinstance(state, Skip):
        return [True] * len(case.nodes)
    if isinstance(state, Unresolvable):
        assert state.reason
        return [False] * len(case.nodes)
    everywhere = call.over(state, case.shape, columns, slice(0, columns.high)).tolist()
    backwards = np.arange(columns.high, dtype=np.intp)[::-1]
    assert call.over(state, case.shape, columns, backwards).tolist() == everywhere[::-1]
    refused = np.array([slot for slot, fits in enumerate(everywhere) if not fits], np.intp)
    if len(refused):
        reasons = call.reasons(state, case.shape, columns, refused)
        assert sum(reasons.values()) == len(refused)
        assert all(reasons.values())
    return everywhere


@many
@given(cases)
def test_volume_binding(case: VolumeCase) -> None:
    expected = [naive_volumes.fits(case, *node) for node in case.nodes]
    assert filtered(VolumeBinding(), case) == expected


@many
@given(cases)
def test_volume_zone(case: VolumeCase) -> None:
    expected = [naive_volumes.in_zone(case, labels) for _, _, labels in case.nodes]
    assert filtered(VolumeZone(), case) == expected


@many
@given(cases)
def test_what_is_chosen_for_a_node_is_what_the_filter_has_promised_and_nobody_elses(case: VolumeCase) -> None:
    asked = read_pod_volumes(case.columns.volumes, case.shape)
    if isinstance(asked, Unresolvable):
        return
    fits = filtered(VolumeBinding(), case)
    for (partition, name, labels), fit in zip(case.nodes, fits, strict=True):
        taken = choose(asked, NodePlace(partition, name), labels)
        assert isinstance(taken, Taken) == fit
        if isinstance(taken, Taken):
            keys = [volume.key for _, volume in taken.volumes]
            assert len(dict.fromkeys(keys)) == len(keys)
            assert taken.place == (partition, name)


@many
@given(cases)
def test_what_one_pod_takes_is_not_there_for_others_until_it_is_given_back(case: VolumeCase) -> None:
    volumes = case.columns.volumes
    asked = read_pod_volumes(volumes, case.shape)
    before = filtered(VolumeBinding(), case)
    for at, (partition, name, labels) in enumerate(case.nodes):
        if not before[at]:
            continue
        assert not isinstance(asked, Unresolvable)
        taken = choose(asked, NodePlace(partition, name), labels)
        assert isinstance(taken, Taken)
        volumes.assume("pod", taken)
        # Another pod with these claims has them where this one does, and who has other claims does not get its volumes.
        assert filtered(VolumeBinding(), case)[at]
        for claim, volume in taken.volumes:
            other = claim._replace(key=claim.key._replace(name="another"), uid="another")
            assert volume.key not in in_pool(volumes.pool(other))
        volumes.withdraw("pod")
        assert filtered(VolumeBinding(), case) == before


class Followed:
    """Volumes to which things happen, and beside them what is left of them, as plain values say."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.volumes = Volumes()
        self._pods = 0
        self.claims = [self._claim(f"c{number}") for number in range(3)]
        self._known: dict[ObjectKey, Volume] = {}
        self._taken: dict[str, ObjectKey] = {}
        self._chosen: dict[ObjectKey, str] = {}
        for number in range(6):
            self._seen(f"v{number}")

    def _claim(self, name: str) -> Claim:
        obj = Object.from_dict(draw_claim(self.random, name, []))
        self.volumes.seen(CLAIMS, obj)
        return read_claim(obj)

    def _seen(self, name: str) -> None:
        obj = Object.from_dict(draw_volume(self.random, name, ["c0", "c1"]))
        self.volumes.seen(VOLUMES, obj)
        volume = read_volume(obj)
        self._known[volume.key] = volume
        if volume.claim is not None:
            self._chosen.pop(volume.key, None)  # The partition's word counts for more than our wish.

    def happen(self) -> None:
        """Something."""
        random = self.random
        free = [each for each in self._known.values() if is_free(each) and each.key not in self._chosen]
        act = random.choice(["seen", "seen", "gone", "take", "take", "give back"])
        if act == "seen":
            self._seen(f"v{random.randrange(8)}")
        elif act == "gone" and self._known:
            key = random.choice(list(self._known))
            self.volumes.gone(VOLUMES, key)
            del self._known[key]
        elif act == "take" and free:
            # Of a claim that nobody else asks for: what is chosen for one's own has a test of its own.
            self._pods += 1
            pod, volume = f"pod-{self._pods}", random.choice(free)
            claim = self.claims[0]._replace(key=self.claims[0].key._replace(name=pod), uid=pod)
            self.volumes.assume(pod, Taken(((claim, volume),)))
            self._taken[pod] = volume.key
            self._chosen[volume.key] = pod
        elif act == "give back" and self._taken:
            pod = random.choice(list(self._taken))
            self.volumes.withdraw(pod)
            key = self._taken.pop(pod)
            if self._chosen.get(key) == pod:
                del self._chosen[key]

    def made_anew(self, claim: Claim) -> Pool:
        pool = Pool(claim)
        for volume in self._known.values():
            if is_free(volume) and volume.key not in self._chosen and volume.key.tenant == claim.key.tenant:
                pool.put(volume, self.volumes.terms(volume))
        return pool


@many
@given(st.integers(0, 2**48))
def test_a_pool_that_was_followed_is_the_one_that_is_made_anew(seed: int) -> None:
    followed = Followed(seed)
    for _ in range(15):
        for claim in followed.claims:
            assert in_pool(followed.volumes.pool(claim)) == in_pool(followed.made_anew(claim))
        followed.happen()


def test_of_too_many_kinds_of_claims_the_longest_unasked_is_looked_for_anew() -> None:
    followed = Followed(1)
    claims = [followed.claims[0]._replace(size=size) for size in range(POOLS_MAX + 1)]
    pools = [followed.volumes.pool(claim) for claim in claims[:-1]]
    assert followed.volumes.pool(claims[0]) is pools[0]
    followed.volumes.pool(claims[-1])
    assert followed.volumes.pool(claims[0]) is pools[0]
    again = followed.volumes.pool(claims[1])
    assert again is not pools[1]
    assert in_pool(again) == in_pool(pools[1])


def test_a_volume_that_another_pod_has_taken_since_stays_taken() -> None:
    volumes, random = Volumes(), Random(1)
    free = {**draw_volume(random, "v", []), "status": {"phase": "Available"}}
    free["metadata"] = {"name": "v", "tenant": "acme", "uid": "v"}
    free["spec"].pop("claimRef", None)
    given = {**free, "spec": {**free["spec"], "claimRef": {"namespace": "default", "name": "other", "uid": "other"}}}
    volume = read_volume(Object.from_dict(free))
    asking = read_claim(Object.from_dict(draw_claim(random, "c", [])))
    fitting = {
        "size": 1,
        "modes": (),
        "volume_mode": volume.volume_mode,
        "class_name": volume.class_name,
        "selector": (),
    }
    first, second, third = (
        asking._replace(key=asking.key._replace(name=name), uid=name, **fitting) for name in ("c1", "c2", "c3")
    )
    volumes.seen(VOLUMES, Object.from_dict(free))
    assert in_pool(volumes.pool(third))
    volumes.assume("p1", Taken(((first, volume),)))
    for manifest in (given, free):  # Somebody else had it for a while.
        volumes.seen(VOLUMES, Object.from_dict(manifest))
    volumes.assume("p2", Taken(((second, volume),)))
    volumes.withdraw("p1")
    assert not in_pool(volumes.pool(third))
    volumes.withdraw("p2")
    assert in_pool(volumes.pool(third))
