"""A change concerns the watches that may see something of it, and as few others as can be."""

from __future__ import annotations

from ursa.partitions.entries import Change, Entry, FieldReader
from ursa.partitions.selections import compile_selection
from ursa.partitions.watches.groups import Groups
from ursa.proto import ursa_pb2 as pb
from ursa.proto.kinds import BY_KIND, KindTable, Role
from ursa.proto.objects import encode

POD = BY_KIND["Pod"]


class Watch:
    def follow(self, start: int) -> None: ...

    def outrun(self) -> None: ...

    def stop(self, error: Exception) -> None: ...


def entry(**spec: object) -> Entry:
    message = pb.Object(spec=encode(spec))
    message.metadata.name = "web"
    return Entry("/registry/pods/a/b/web", message, b"", 1, FieldReader(POD).fields(message))


def test_a_watch_by_the_value_of_any_field_is_concerned_by_that_value_alone() -> None:
    groups = Groups()
    selector = "spec.affinity.podAffinity=true,spec.nodeName!="
    selection = compile_selection(pb.Selection(resource="pods", field_selector=selector), Role.TENANT, KindTable())
    group = groups.join(selection, Watch())
    plain, near = entry(nodeName="n"), entry(nodeName="n", affinity={"podAffinity": {"x": []}})
    assert groups.concerned(Change(2, POD, plain, plain, None)) == []
    assert groups.concerned(Change(2, POD, None, near, None)) == [group]
    assert groups.concerned(Change(2, POD, near, plain, None)) == [group], "it is to hear that it lost it"
    assert groups.concerned(Change(2, POD, plain, near, None)) == [group]
    groups.leave(group, next(iter(group)))
    assert groups.concerned(Change(2, POD, near, near, None)) == []
