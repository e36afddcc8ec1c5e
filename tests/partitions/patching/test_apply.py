"""Server-side apply between managers: what they share, fight over, give up and leave behind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.partitions.patching import APPLY, UPDATE, Manager, Managers, shape_of
from ursa.partitions.patching.field_sets import fields_of, from_fields_v1, text_of, to_fields_v1
from ursa.partitions.patching.managers import ANCIENT_CHANGES, UPDATERS_MAX
from ursa.partitions.patching.values import same
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Conflict
from ursa.proto.kinds import BY_KIND

DEPLOYMENT = shape_of(BY_KIND["Deployment"])
CONFIG_MAP = shape_of(BY_KIND["ConfigMap"])


class Applied:
    """One object and its managers, without a server."""

    def __init__(self, shape: Any = DEPLOYMENT) -> None:
        self.shape = shape
        self.object: dict[str, Any] = {}
        self.metadata = pb.ObjectMeta()
        self.now_ms = 0

    def apply(self, name: str, config: dict[str, Any], *, force: bool = False) -> dict[str, Any]:
        managers = Managers(self.metadata.managed_fields)
        self.object = managers.apply(self._manager(name, APPLY), self.object, config, self.shape, force=force)
        self._store(managers)
        return self.object

    def update(self, name: str, new: dict[str, Any]) -> None:
        managers = Managers(self.metadata.managed_fields)
        managers.update(self._manager(name, UPDATE), self.object, new, self.shape)
        self.object = new
        self._store(managers)

    def owned(self, name: str, operation: str = APPLY) -> list[str]:
        return sorted(map(text_of, Managers(self.metadata.managed_fields).fields(self._manager(name, operation))))

    @staticmethod
    def _manager(name: str, operation: str) -> Manager:
        return Manager(name, operation, "", "apps/v1")

    def _store(self, managers: Managers) -> None:
        self.now_ms += 1
        managers.write_to(self.metadata, self.now_ms)


def deployment(replicas: int | None = None, *containers: dict[str, Any], **labels: str) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    if replicas is not None:
        spec["replicas"] = replicas
    if containers:
        spec["template"] = {"spec": {"containers": list(containers)}}
    found: dict[str, Any] = {"spec": spec} if spec else {}
    return {**found, "metadata": {"labels": labels}} if labels else found


def test_what_a_manager_no_longer_says_goes() -> None:
    applied = Applied()
    applied.apply("kubectl", deployment(2, {"name": "app", "image": "a"}, {"name": "log", "image": "l"}, a="1", b="2"))
    assert applied.apply("kubectl", deployment(None, {"name": "app"}, a="1")) == deployment(
        None, {"name": "app"}, a="1"
    )


def test_a_manager_that_says_nothing_leaves_nothing() -> None:
    applied = Applied()
    applied.apply("kubectl", deployment(2, {"name": "app", "ports": [{"containerPort": 80}]}, a="1"))
    assert applied.apply("kubectl", {}) == {}
    assert not applied.metadata.managed_fields


def test_what_nobody_owns_in_an_item_goes_with_it_and_elsewhere_stays() -> None:
    applied = Applied()
    applied.apply("kubectl", deployment(2, {"name": "app"}, {"name": "log"}))
    spec = applied.object["spec"]
    spec["revisionHistoryLimit"] = 10  # As defaults are: nobody's.
    spec["template"]["spec"]["containers"][1]["imagePullPolicy"] = "Always"
    spec["template"]["spec"]["restartPolicy"] = "Always"
    after = applied.apply("kubectl", deployment(None, {"name": "app"}))
    assert after["spec"] == {
        "revisionHistoryLimit": 10,
        "template": {"spec": {"containers": [{"name": "app"}], "restartPolicy": "Always"}},
    }


def test_an_item_goes_with_its_owners_whoever_has_changed_it() -> None:
    """Who changes an image owns the image and not the container; when the container goes, nothing is left to own."""
    applied = Applied()
    applied.apply("kubectl", deployment(2, {"name": "app"}, {"name": "log", "image": "l:1"}))
    applied.update("someone", deployment(2, {"name": "app"}, {"name": "log", "image": "l:2"}))
    assert applied.owned("someone", UPDATE) == ['.spec.template.spec.containers[name="log"].image']
    assert applied.apply("kubectl", deployment(2, {"name": "app"})) == deployment(2, {"name": "app"})
    assert applied.owned("someone", UPDATE) == []


def test_a_field_of_another_manager_is_a_conflict_that_names_both() -> None:
    """kubernetes.io, "Server-Side Apply": the autoscaler owns the replicas."""
    applied = Applied()
    applied.apply("autoscaler", deployment(5))
    with pytest.raises(Conflict, match='conflict with "autoscaler" using apps/v1') as refused:
        applied.apply("kubectl", deployment(3, {"name": "app"}))
    [cause] = refused.value.causes
    assert (cause.field, cause.reason) == (".spec.replicas", "FieldManagerConflict")
    assert cause.message == 'conflict with "autoscaler" using apps/v1'
    assert applied.object == deployment(5)


def test_a_forced_apply_takes_the_field_over() -> None:
    applied = Applied()
    applied.apply("autoscaler", deployment(5, a="1"))
    assert applied.apply("kubectl", deployment(3), force=True)["spec"]["replicas"] == 3
    assert applied.owned("kubectl") == [".spec.replicas"]
    assert applied.owned("autoscaler") == [".metadata.labels.a"]


def test_the_same_value_is_shared_until_the_last_owner_gives_it_up() -> None:
    applied = Applied()
    applied.apply("one", deployment(3))
    applied.apply("two", deployment(3))
    assert applied.owned("one") == applied.owned("two") == [".spec.replicas"]
    assert applied.apply("one", {}) == deployment(3)
    assert applied.apply("two", {}) == {}


def test_a_shared_field_cannot_be_changed_by_one_of_its_owners() -> None:
    applied = Applied()
    applied.apply("one", deployment(3))
    applied.apply("two", deployment(3))
    with pytest.raises(Conflict, match='"one"'):
        applied.apply("two", deployment(4))


def test_each_manager_has_its_own_containers_ports_and_variables() -> None:
    applied = Applied()
    ports = [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]
    applied.apply("one", deployment(None, {"name": "dns", "ports": ports, "env": [{"name": "A", "value": "1"}]}))
    after = applied.apply(
        "two", deployment(None, {"name": "dns", "env": [{"name": "B", "value": "2"}]}, {"name": "side"})
    )
    [dns, side] = after["spec"]["template"]["spec"]["containers"]
    assert dns == {"name": "dns", "ports": ports, "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
    assert side == {"name": "side"}
    after = applied.apply("one", deployment(None, {"name": "dns", "ports": ports[1:]}))
    assert after["spec"]["template"]["spec"]["containers"] == [
        {"name": "dns", "ports": ports[1:], "env": [{"name": "B", "value": "2"}]},
        {"name": "side"},
    ]


def test_a_port_without_a_protocol_is_the_tcp_port() -> None:
    applied = Applied()
    applied.apply("one", deployment(None, {"name": "a", "ports": [{"containerPort": 80}]}))
    ports = [{"containerPort": 80, "protocol": "TCP", "name": "web"}]
    applied.apply("two", deployment(None, {"name": "a", "ports": ports}))
    [container] = applied.object["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == ports


def test_an_atomic_list_has_one_owner() -> None:
    applied = Applied()
    applied.apply("one", deployment(None, {"name": "a", "args": ["x", "y"]}))
    with pytest.raises(Conflict) as refused:
        applied.apply("two", deployment(None, {"name": "a", "args": ["x", "y", "z"]}))
    assert [cause.field for cause in refused.value.causes] == ['.spec.template.spec.containers[name="a"].args']


def test_finalizers_are_a_set_of_several_owners() -> None:
    applied = Applied()
    applied.apply("one", {"metadata": {"finalizers": ["a", "b"]}})
    assert applied.apply("two", {"metadata": {"finalizers": ["b", "c"]}})["metadata"]["finalizers"] == ["a", "b", "c"]
    assert applied.apply("one", {"metadata": {"finalizers": ["a"]}})["metadata"]["finalizers"] == ["a", "b", "c"]
    assert applied.apply("two", {})["metadata"]["finalizers"] == ["a"]


def test_items_come_in_the_order_in_which_they_were_applied() -> None:
    applied = Applied()
    applied.apply("other", deployment(None, {"name": "x"}))
    applied.apply("one", deployment(None, {"name": "a"}, {"name": "b"}))
    after = applied.apply("one", deployment(None, {"name": "b"}, {"name": "c"}, {"name": "a"}))
    assert [c["name"] for c in after["spec"]["template"]["spec"]["containers"]] == ["x", "b", "c", "a"]


def test_an_update_takes_what_it_changes_and_an_apply_of_it_conflicts() -> None:
    applied = Applied()
    applied.apply("kubectl", deployment(3, a="1"))
    applied.update("autoscaler", deployment(5, a="1"))
    assert applied.owned("autoscaler", UPDATE) == [".spec.replicas"]
    assert applied.owned("kubectl") == [".metadata.labels.a"]
    with pytest.raises(Conflict, match='"autoscaler"'):
        applied.apply("kubectl", deployment(3, a="1"))
    # As the documentation advises: leave the field out, and it stays with the autoscaler.
    assert applied.apply("kubectl", deployment(a="1")) == deployment(5, a="1")


def test_what_an_update_removes_is_nobodys() -> None:
    applied = Applied()
    applied.apply("kubectl", deployment(3, a="1", b="2"))
    applied.update("someone", deployment(3, a="1"))
    assert applied.owned("kubectl") == [".metadata.labels.a", ".spec.replicas"]
    assert applied.owned("someone", UPDATE) == []


def test_an_apply_that_changes_nothing_changes_no_time() -> None:
    applied = Applied()
    applied.apply("kubectl", deployment(3))
    before = applied.metadata.SerializeToString()
    applied.apply("kubectl", deployment(3))
    assert applied.metadata.SerializeToString() == before


def test_fields_v1_is_that_of_kubernetes() -> None:
    applied = Applied()
    applied.apply("kubectl", deployment(3, {"name": "app", "ports": [{"containerPort": 80}]}, a="1"))
    [entry] = applied.metadata.managed_fields
    assert json.loads(entry.fields_v1) == {
        "f:metadata": {"f:labels": {"f:a": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:template": {
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"app"}': {
                            ".": {},
                            "f:name": {},
                            "f:ports": {
                                'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}},
                            },
                        }
                    }
                }
            },
        },
    }


def test_the_oldest_of_many_updaters_are_counted_as_one() -> None:
    applied = Applied(CONFIG_MAP)
    applied.apply("kubectl", {"data": {"a": "1"}})
    for number in range(UPDATERS_MAX + 5):
        applied.update(f"program-{number}", {"data": {**applied.object["data"], f"k{number}": "1"}})
    updaters = [entry.manager for entry in applied.metadata.managed_fields if entry.operation == UPDATE]
    assert len(updaters) == UPDATERS_MAX
    assert updaters[0] == ANCIENT_CHANGES
    assert len(applied.owned(ANCIENT_CHANGES, UPDATE)) == 6


# ---------------------------------------------------------------------------------------------------- for any config

NAMES = st.sampled_from(["a", "b", "c"])
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES},
        optional={
            "image": st.sampled_from(["x", "y"]),
            "args": st.lists(NAMES, max_size=2),
            "ports": st.lists(
                st.fixed_dictionaries({"containerPort": st.integers(1, 2)}, optional={"name": NAMES}),
                max_size=2,
                unique_by=lambda port: port["containerPort"],
            ),
        },
    ),
    max_size=3,
    unique_by=lambda container: container["name"],
)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries(
            {},
            optional={
                "labels": st.dictionaries(NAMES, NAMES, max_size=2),
                "finalizers": st.lists(NAMES, max_size=2, unique=True),
            },
        ),
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "replicas": st.integers(0, 2),
                "template": st.fixed_dictionaries({"spec": st.fixed_dictionaries({"containers": CONTAINERS})}),
            },
        ),
    },
)


@given(first=CONFIGS, second=CONFIGS)
def test_applying_again_changes_nothing(first: Any, second: Any) -> None:
    applied = Applied()
    applied.apply("one", first)
    applied.apply("two", second, force=True)
    before, managed = applied.object, applied.metadata.SerializeToString()
    applied.apply("two", second)
    assert same(applied.object, before)
    assert applied.metadata.SerializeToString() == managed


@given(configs=st.lists(CONFIGS, min_size=1, max_size=4))
def test_the_last_configuration_of_a_lone_manager_is_all_there_is(configs: Any) -> None:
    applied, fresh = Applied(), Applied()
    for config in configs:
        applied.apply("one", config)
    fresh.apply("one", configs[-1])
    assert fields_of(applied.object, DEPLOYMENT) == fields_of(fresh.object, DEPLOYMENT)
    applied.apply("one", {})
    assert applied.object == {}


@given(one=CONFIGS, two=CONFIGS, three=CONFIGS)
def test_what_a_manager_says_is_so_and_without_force_no_one_loses(one: Any, two: Any, three: Any) -> None:
    applied = Applied()
    applied.apply("one", one)
    owned = applied.owned("one")
    for config in (two, three):
        try:
            applied.apply("two", config)
        except Conflict:
            continue
        assert applied.owned("one") == owned
    try:
        applied.apply("one", one)
    except Conflict:
        pytest.fail("nobody could have taken anything from it")


@given(one=CONFIGS, two=CONFIGS)
def test_what_one_manager_adds_and_gives_up_is_as_if_it_had_never_been(one: Any, two: Any) -> None:
    applied, alone = Applied(), Applied()
    alone.apply("one", one)
    applied.apply("one", one)
    try:
        applied.apply("two", two)
    except Conflict:
        return
    applied.apply("two", {})
    assert fields_of(applied.object, DEPLOYMENT) == fields_of(alone.object, DEPLOYMENT)


@given(config=CONFIGS)
def test_a_stored_set_reads_back(config: Any) -> None:
    fields = fields_of(config, DEPLOYMENT)
    assert from_fields_v1(to_fields_v1(fields)) == fields
