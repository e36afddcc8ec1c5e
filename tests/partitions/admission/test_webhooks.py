"""Webhooks: rules behind a URL. Writes that match wait for their answers; all others do not notice."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from ursa.partitions import ApiServer
from ursa.partitions.admission import WebhookCall
from ursa.partitions.admission.webhook_calls import CALLS_AT_ONCE_MAX
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, Conflict, Forbidden, InternalError, Invalid, from_status, was_fenced_off
from ursa.proto.kinds import BY_KIND, Role
from ursa.proto.objects import Object, encode
from ursa.proto.sessions import Caller
from ursa.storage import MemoryStore

from ..conftest import HandCommitter, HandRuntime, Partition, pod, target

Response = dict[str, Any]
ALLOWED: Response = {"allowed": True}


class Hooked(Partition):
    """A partition whose webhooks are functions. `held`: they answer when told to."""

    def __init__(self) -> None:
        self.role = Role.TENANT
        self.committer = HandCommitter()
        self.store = MemoryStore(self.committer, incarnation="one")
        self.runtime = HandRuntime()
        self.registry = CollectorRegistry()
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Callable[[dict[str, Any]], Response | bytes | str | None]] = {}
        self.held = False
        self.waiting: list[tuple[WebhookCall, Callable[[bytes | str], None]]] = []
        self.in_flight_max = 0
        self.server = ApiServer(
            "p-1", self.role, self.store, self.runtime, Random(7), self.registry, webhook_caller=self._call
        )
        self.runtime.advance(0.1)

    def _call(self, call: WebhookCall, done: Callable[[bytes | str], None]) -> None:
        self.waiting.append((call, done))
        self.in_flight_max = max(self.in_flight_max, len(self.waiting))
        if not self.held:
            self.release()

    def release(self) -> None:
        while self.waiting:
            call, done = self.waiting.pop(0)
            request = json.loads(call.body)["request"]
            self.calls.append((call.url, request))
            response = self.answers.get(call.url, lambda _: ALLOWED)(request)
            if isinstance(response, dict):
                review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
                done(json.dumps({**review, "response": {"uid": request["uid"], **response}}).encode())
            elif response is not None:
                done(response)

    def configure(
        self, config: str, *, mutating: bool = False, operations: tuple[str, ...] = ("CREATE",), **webhook: Any
    ) -> str:
        """A webhook for pods; returns its URL."""
        url = f"https://{config}.example.com/review"
        rule = {"operations": list(operations), "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
        entry = {
            "name": f"{config}.example.com",
            "clientConfig": {"url": url},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "rules": [rule],
            **webhook,
        }
        kind = "MutatingWebhookConfiguration" if mutating else "ValidatingWebhookConfiguration"
        self.create(
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": kind,
                "metadata": {"name": config},
                "webhooks": [entry],
            }
        )
        return url

    def start(self, *operations: pb.Operation, fence: pb.Fence | None = None) -> list[bytes | ApiError]:
        """A batch whose answer comes later, into the list."""
        answers: list[bytes | ApiError] = []
        request = pb.MutateRequest(operations=operations, fence=fence).SerializeToString()
        self.server.call("Write", request, Caller("ann"), answers.append)
        self.runtime.advance(0.1)
        return answers


def patching(*operations: dict[str, Any], **more: Any) -> Response:
    patch = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": patch, **more}


def create(manifest: dict[str, Any]) -> pb.Operation:
    operation = pb.Operation(resource=BY_KIND[manifest["kind"]].resource)
    operation.create.object.CopyFrom(Object.from_dict(manifest).message)
    return operation


def relabel(name: str, **labels: str) -> pb.Operation:
    operation = pb.Operation(resource="pods")
    operation.patch.target.CopyFrom(target("pods", name))
    operation.patch.body = encode({"metadata": {"labels": labels}})
    return operation


def config_map(name: str) -> dict[str, Any]:
    metadata = {"name": name, "tenant": "system", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def results(answers: list[bytes | ApiError]) -> list[pb.Result]:
    [answer] = answers
    assert isinstance(answer, bytes)
    return list(pb.MutateReply.FromString(answer).results)


@pytest.fixture
def hooked() -> Hooked:
    return Hooked()


def test_a_mutating_webhook_changes_what_is_stored(hooked: Hooked) -> None:
    url = hooked.configure("labels", mutating=True)
    hooked.answers[url] = lambda _: patching({"op": "add", "path": "/metadata/labels", "value": {"team": "a"}})
    created = hooked.create(pod("p"))
    assert dict(created.labels) == {"team": "a"}
    assert dict(hooked.get("pods", "p").labels) == {"team": "a"}
    [(asked, request)] = hooked.calls
    assert asked == url
    assert request["kind"] == {"group": "", "version": "v1", "kind": "Pod"}
    assert request["resource"] == {"group": "", "version": "v1", "resource": "pods"}
    assert (request["operation"], request["name"], request["namespace"]) == ("CREATE", "p", "default")
    assert request["userInfo"]["username"] == "test"
    assert request["object"]["metadata"]["name"] == "p"
    assert request["oldObject"] is None
    assert request["dryRun"] is False


def test_mutating_webhooks_are_asked_in_order_and_validating_ones_about_the_result(hooked: Hooked) -> None:
    second = hooked.configure("b", mutating=True)
    first = hooked.configure("a", mutating=True)
    last = hooked.configure("a-check")
    hooked.answers[first] = lambda _: patching({"op": "add", "path": "/metadata/labels", "value": {"a": "1"}})
    hooked.answers[second] = lambda _: patching({"op": "add", "path": "/metadata/labels/b", "value": "2"})
    hooked.create(pod("p"))
    assert [url for url, _ in hooked.calls] == [first, second, last]
    assert hooked.calls[1][1]["object"]["metadata"]["labels"] == {"a": "1"}
    assert hooked.calls[2][1]["object"]["metadata"]["labels"] == {"a": "1", "b": "2"}
    assert hooked.calls[2][1]["object"]["spec"]["schedulerName"] == "default-scheduler"


def test_a_validating_webhook_refuses_in_the_words_of_kubernetes(hooked: Hooked) -> None:
    url = hooked.configure("check")
    hooked.answers[url] = lambda _: {"allowed": False, "status": {"message": "not on Mondays"}}
    with pytest.raises(Forbidden) as refused:
        hooked.create(pod("p"))
    assert str(refused.value) == 'admission webhook "check.example.com" denied the request: not on Mondays'
    hooked.answers[url] = lambda _: {"allowed": False, "status": {"message": "bad", "reason": "Invalid", "code": 422}}
    with pytest.raises(Invalid):
        hooked.create(pod("p"))
    hooked.answers[url] = lambda _: {"allowed": False}
    with pytest.raises(Forbidden, match="without explanation"):
        hooked.create(pod("p"))
    assert not hooked.list("pods").items


def test_a_batch_that_no_webhook_is_for_is_answered_at_once(hooked: Hooked) -> None:
    hooked.configure("check")
    hooked.held = True
    waiting = hooked.start(create(pod("p")))
    done = hooked.start(create(config_map("c")))
    assert not waiting
    assert results(done)[0].resource_version
    hooked.release()
    hooked.runtime.advance(0.1)
    assert results(waiting)[0].resource_version


def test_writes_of_one_batch_are_asked_about_together_and_carried_out_in_order(hooked: Hooked) -> None:
    url = hooked.configure("check")
    hooked.held = True
    operations = [
        create(config_map("c")),
        *(create(pod(f"p-{number}")) for number in range(5)),
        create(config_map("d")),
    ]
    answers = hooked.start(*operations)
    assert len(hooked.waiting) == 5
    assert [item.metadata.name for item in hooked.list("configmaps").items] == ["c"], "what comes before is done"
    hooked.answers[url] = lambda request: {"allowed": request["name"] != "p-3"}
    hooked.release()
    hooked.runtime.advance(0.1)
    assert [result.error.reason for result in results(answers)] == ["", "", "", "", "Forbidden", "", ""]
    assert len(hooked.calls) == 5, "nobody was asked twice"


def test_later_batches_of_a_stream_wait_behind_the_one_that_is_asked_about(hooked: Hooked) -> None:
    hooked.configure("check")
    hooked.held = True
    stream = hooked.server.open("Mutate", Caller("ann"), lambda: None)
    for number, operation in enumerate((create(pod("p")), relabel("p", a="b"))):
        stream.receive(pb.MutateRequest(operations=[operation], batch=number).SerializeToString())
    hooked.runtime.advance(0.1)
    assert stream.take() is None
    hooked.release()
    hooked.runtime.advance(0.1)
    replies = [pb.MutateReply.FromString(data) for data in iter(stream.take, None)]
    assert [reply.batch for reply in replies] == [0, 1]
    assert not any(reply.results[0].HasField("error") for reply in replies)


def test_an_answer_about_what_has_changed_meanwhile_is_not_used(hooked: Hooked) -> None:
    """Take the object out of the key of an answer, and the second write is let through."""
    hooked.create(pod("p"))
    url = hooked.configure("check", operations=("UPDATE",))
    hooked.answers[url] = lambda request: {"allowed": len(request["object"]["metadata"]["labels"]) < 2}
    hooked.held = True
    first = hooked.start(relabel("p", a="1"))
    second = hooked.start(relabel("p", b="1"))
    hooked.release()
    hooked.runtime.advance(0.1)
    hooked.release()
    hooked.runtime.advance(0.1)
    assert not results(first)[0].HasField("error")
    assert results(second)[0].error.reason == "Forbidden", "it was asked about both labels, too"
    assert dict(hooked.get("pods", "p").labels) == {"a": "1"}


def test_an_object_that_never_stays_is_a_conflict(hooked: Hooked) -> None:
    hooked.create(pod("p"))
    hooked.configure("check", operations=("UPDATE",), objectSelector={"matchLabels": {"mine": "1"}})
    hooked.held = True
    answers = hooked.start(relabel("p", mine="1"))
    for number in range(20):
        status = pb.Operation(resource="pods")
        status.patch.target.CopyFrom(target("pods", "p"))
        status.patch.body = encode({"status": {"message": str(number)}})
        status.patch.subresource = "status"
        hooked.write(status)
        hooked.release()
        hooked.runtime.advance(0.1)
    [result] = results(answers)
    assert isinstance(from_status(result.error), Conflict)
    assert "changed again and again" in result.error.message


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("the connection was refused", "the connection was refused"),
        (b"<html>", "no JSON"),
        (b'{"response": {}}', "asked for admission.k8s.io/v1"),
        (b"[]", "no AdmissionReview"),
        ({"allowed": True, "uid": "other"}, "has the uid"),
        ({"allowed": "yes"}, "must be true or false"),
        ({"allowed": True, "warnings": [1]}, "a list of strings"),
        (patching({"op": "add", "path": "/metadata/labels", "value": {}}), "must not send a patch"),
    ],
)
def test_a_webhook_that_fails_refuses_unless_its_policy_is_to_ignore_it(
    hooked: Hooked, answer: Response | bytes | str, text: str
) -> None:
    url = hooked.configure("check")
    hooked.answers[url] = lambda _: answer
    with pytest.raises(InternalError, match=r'failed calling webhook "check\.example\.com"') as refused:
        hooked.create(pod("p"))
    assert text in str(refused.value)
    open_url = Hooked()
    url = open_url.configure("check", failurePolicy="Ignore")
    open_url.answers[url] = lambda _: answer
    open_url.create(pod("p"))
    labels = {"name": "check.example.com", "type": "validate"}
    assert open_url.registry.get_sample_value("apiserver_admission_webhook_fail_open_count_total", labels) == 1


def test_a_patch_that_does_not_fit_is_the_webhooks_fault(hooked: Hooked) -> None:
    url = hooked.configure("labels", mutating=True)
    for path, value in (("/nowhere/x", 1), ("/metadata/labels", {"a": 1})):
        hooked.answers[url] = lambda _, path=path, value=value: patching({"op": "add", "path": path, "value": value})
        with pytest.raises(InternalError, match=r"labels/labels\.example\.com does not fit"):
            hooked.create(pod("p"))
    hooked.answers[url] = lambda _: patching({"op": "replace", "path": "/metadata/name", "value": "other"})
    with pytest.raises(InternalError, match="must keep the name"):
        hooked.create(pod("p"))


def test_a_webhook_that_never_answers_costs_its_timeout(hooked: Hooked) -> None:
    url = hooked.configure("check", timeoutSeconds=3)
    hooked.answers[url] = lambda _: None
    answers = hooked.start(create(pod("p")))
    hooked.runtime.advance(2.7)
    assert not answers
    hooked.runtime.advance(0.5)
    [result] = results(answers)
    assert "no answer within 3 seconds" in result.error.message
    labels = {"name": "check.example.com", "type": "validate", "operation": "CREATE"}
    failed = {**labels, "error_type": "calling_webhook_error", "rejection_code": "500"}
    count = hooked.registry.get_sample_value("apiserver_admission_webhook_rejection_count_total", failed)
    assert count == 1
    seconds = hooked.registry.get_sample_value(
        "apiserver_admission_webhook_admission_duration_seconds_sum", {**labels, "rejected": "true"}
    )
    assert seconds == pytest.approx(3)


def test_a_bounded_number_of_questions_is_under_way_at_once(hooked: Hooked) -> None:
    hooked.configure("check")
    hooked.held = True
    answers = hooked.start(*(create(pod(f"p-{number}")) for number in range(200)))
    other = hooked.start(*(create(pod(f"q-{number}")) for number in range(200)))
    assert len(hooked.waiting) == CALLS_AT_ONCE_MAX
    for _ in range(10):
        hooked.release()
        hooked.runtime.advance(0.1)
    assert hooked.in_flight_max == CALLS_AT_ONCE_MAX
    assert not any(result.HasField("error") for result in (*results(answers), *results(other)))


def test_many_updates_of_one_object_in_a_batch_are_asked_about_one_by_one(hooked: Hooked) -> None:
    hooked.create(pod("p"))
    hooked.configure("check", operations=("UPDATE",))
    answers = hooked.start(*(relabel("p", **{f"l{number}": "x"}) for number in range(120)))
    hooked.runtime.advance(5)
    assert not any(result.HasField("error") for result in results(answers))
    assert len(hooked.get("pods", "p").labels) == 120


def test_selectors_of_namespaces_and_objects_say_whom_a_webhook_is_for(hooked: Hooked) -> None:
    by_namespace = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
    first = hooked.configure("a", namespaceSelector=by_namespace)
    second = hooked.configure("b", objectSelector={"matchExpressions": [{"key": "app", "operator": "Exists"}]})
    hooked.create(pod("p"))
    assert not hooked.calls
    hooked.create(pod("p", namespace="kube-system"))
    hooked.create(pod("q", labels={"app": "x"}))
    assert [url for url, _ in hooked.calls] == [first, second]


def test_a_webhook_cannot_keep_itself_from_being_removed(hooked: Hooked) -> None:
    rule = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}
    url = hooked.configure("check", rules=[rule])
    hooked.answers[url] = lambda _: {"allowed": False}
    with pytest.raises(Forbidden):
        hooked.create(config_map("c"))
    operation = pb.Operation(resource="validatingwebhookconfigurations.admissionregistration.k8s.io")
    operation.delete.target.name = "check"
    operation.delete.target.resource = operation.resource
    hooked.do(operation)
    hooked.create(config_map("c"))


def test_webhooks_are_known_again_after_a_restart(hooked: Hooked) -> None:
    hooked.configure("check")
    again = Partition(Role.TENANT, hooked.store)
    with pytest.raises(InternalError, match="this partition calls no webhooks"):
        again.create(pod("p"))


def test_warnings_of_webhooks_reach_the_caller(hooked: Hooked) -> None:
    url = hooked.configure("check")
    hooked.answers[url] = lambda _: {"allowed": True, "warnings": ["old image"]}
    assert list(hooked.do(create(pod("p"))).warnings) == ["old image"]


def test_a_made_up_name_is_asked_about_once_and_kept(hooked: Hooked) -> None:
    hooked.configure("labels", mutating=True)
    hooked.configure("check")
    manifest = pod("")
    manifest["metadata"]["generateName"] = "web-"
    created = hooked.create(manifest)
    assert [request["name"] for _, request in hooked.calls] == [created.name] * 2


def test_every_broken_rule_of_a_configuration_is_listed(hooked: Hooked) -> None:
    with pytest.raises(Invalid) as refused:
        hooked.configure(
            "check",
            name="short",
            clientConfig={"url": "http://elsewhere/x?y", "service": {"name": "s"}, "caBundle": "%"},
            admissionReviewVersions=["v1beta1"],
            sideEffects="Some",
            failurePolicy="Maybe",
            timeoutSeconds=31,
            matchConditions=[{"name": "x"}],
            rules=[{"operations": ["READ"], "apiGroups": [""], "apiVersions": []}],
        )
    fields = [cause.field.removeprefix("webhooks[0].") for cause in refused.value.causes]
    assert fields == [
        "name",
        "clientConfig.service",
        "clientConfig.url",
        "clientConfig.caBundle",
        "admissionReviewVersions",
        "sideEffects",
        "failurePolicy",
        "matchConditions",
        "timeoutSeconds",
        "rules[0].operations",
        "rules[0].apiVersions",
        "rules[0].resources",
    ]


def test_a_leader_that_is_deposed_while_webhooks_are_asked_writes_nothing_more(hooked: Hooked) -> None:
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "leader", "tenant": "system", "namespace": "kube-system"},
        "spec": {"holderIdentity": "one", "leaseTransitions": 1},
    }
    made = hooked.create(lease)
    hooked.configure("slow")
    hooked.held = True
    fence = pb.Fence(tenant="system", namespace="kube-system", name="leader", uid=made.uid, term=1, holder="one")
    answers = hooked.start(create(config_map("before")), create(pod("asked-about")), fence=fence)
    update = pb.Operation(resource="leases.coordination.k8s.io")
    update.update.object.CopyFrom(made.with_spec({"holderIdentity": "two", "leaseTransitions": 2}).message)
    hooked.do(update)
    hooked.release()
    hooked.runtime.advance(0.1)
    assert [was_fenced_off(result.error) for result in results(answers)] == [False, True]
    assert [item.metadata.name for item in hooked.list("pods").items] == []
