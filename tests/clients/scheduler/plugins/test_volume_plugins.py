"""VolumeBinding and VolumeZone say of all nodes at once what plain functions say of one; and what is chosen fits."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.scheduler.framework.calls import FilterCall
from ursa.clients.scheduler.framework.interface import Plugin, Skip, Unresolvable
from ursa.clients.scheduler.plugins.volume_binding import VolumeBinding
from ursa.clients.scheduler.plugins.volume_zone import VolumeZone
from ursa.clients.scheduler.pod_volumes import choose, read_pod_volumes
from ursa.clients.scheduler.volumes import Taken
from ursa.clients.volumes.reading import NodePlace

from . import naive_volumes
from .cases import CASES
from .volume_cases import VolumeCase

cases = st.integers(0, 2**48).map(VolumeCase)
many = settings(max_examples=CASES, deadline=None)


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
            assert volume.key not in [each.key for each in volumes.candidates(other) if not each.is_for(other)]
        volumes.withdraw("pod")
        assert filtered(VolumeBinding(), case) == before
