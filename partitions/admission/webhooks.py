"""Webhooks: admission rules behind a URL, as Kubernetes' {Mutating,Validating}WebhookConfiguration name them.

Here is who is asked, what is asked (AdmissionReview v1), and what an answer means. How a question travels, and for how
long one waits, is in `webhook_calls`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.errors import ApiError, BadRequest, Forbidden, InternalError, Invalid, from_status
from ...proto.kinds import ADMISSION_GROUP, Kind, Scope
from ...proto.objects import Object, decode_shared
from ...proto.selectors import Selector, label_selector_of, selects
from ..entries import Entry
from ..patching import json_patch
from .reviews import CREATE, Review

MUTATING, VALIDATING = "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"
TIMEOUT_SECONDS, TIMEOUT_SECONDS_MAX = 10, 30
# Kubernetes gives every namespace a label with its name.
NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name"
_ANY = "*"

NamespaceLabels = Callable[[str, str], Mapping[str, str]]


class Answer(NamedTuple):
    """What came of asking a webhook: the write goes on, changed by `patch`, or it is refused."""

    refusal: ApiError | None = None
    patch: tuple[Any, ...] = ()
    warnings: tuple[str, ...] = ()


Answers = dict[str, Answer]


class Hook:
    """One webhook of a configuration that has passed validation. Immutable."""

    def __init__(self, config: Entry, mutating: bool, webhook: Mapping[str, Any]) -> None:
        client = webhook["clientConfig"]
        self.name = str(webhook["name"])
        self.key = f"{config.name}/{self.name}"
        self.mutating = mutating
        # A changed configuration is asked anew.
        self.identity = f"{config.uid}/{config.revision}/{self.name}"
        self.url = str(client["url"])
        self.ca_bundle = base64.b64decode(client.get("caBundle") or "")
        self.fails_open = webhook.get("failurePolicy") == "Ignore"
        self.timeout_seconds = float(webhook.get("timeoutSeconds") or TIMEOUT_SECONDS)
        self._rules: Sequence[Mapping[str, Any]] = webhook.get("rules") or ()
        self._namespaces = label_selector_of(webhook.get("namespaceSelector"))
        self._objects = label_selector_of(webhook.get("objectSelector"))

    def matches(self, review: Review, namespace_labels: NamespaceLabels) -> bool:
        if not any(_rule_matches(rule, review) for rule in self._rules):
            return False
        if self._objects and not any(_selected(self._objects, obj) for obj in (review.obj, review.old)):
            return False
        if not self._namespaces:
            return True
        labels = _labels_of_namespace(review, namespace_labels)
        return labels is None or selects(self._namespaces, labels.get)


class Hooks:
    """All webhooks of a partition, in the order in which they are asked: by the names of their configurations."""

    def __init__(self, namespace_labels: NamespaceLabels) -> None:
        self._namespace_labels = namespace_labels
        self._by_config: dict[str, tuple[Hook, ...]] = {}
        self._mutating: tuple[Hook, ...] = ()
        self._validating: tuple[Hook, ...] = ()

    @property
    def present(self) -> bool:
        return bool(self._by_config)

    @property
    def count(self) -> int:
        return len(self._mutating) + len(self._validating)

    def changed(self, kind: Kind, entry: Entry, message: pb.Object | None) -> None:
        """A configuration was written; None: it is gone."""
        hooks: tuple[Hook, ...] = ()
        if message is not None:
            webhooks = decode_shared(message.rest).get("webhooks") or ()
            hooks = tuple(Hook(entry, kind.kind == MUTATING, webhook) for webhook in webhooks)
        self._by_config.pop(entry.key, None)
        if hooks:
            self._by_config[entry.key] = hooks
        everyone = [hook for key in sorted(self._by_config) for hook in self._by_config[key]]
        self._mutating = tuple(hook for hook in everyone if hook.mutating)
        self._validating = tuple(hook for hook in everyone if not hook.mutating)

    def matching(self, review: Review, *, mutating: bool) -> list[Hook]:
        """Nobody is asked about the configurations themselves: a webhook must not keep itself from being removed."""
        hooks = self._mutating if mutating else self._validating
        if not hooks or review.kind.group == ADMISSION_GROUP:
            return []
        return [hook for hook in hooks if hook.matches(review, self._namespace_labels)]


class Ask:
    """A question to a webhook. Equal questions have equal keys."""

    def __init__(self, hook: Hook, review: Review) -> None:
        self.hook = hook
        self.operation = review.operation
        self._review = review

    @cached_property
    def _request(self) -> dict[str, Any]:
        review, kind, subject = self._review, self._review.kind, self._review.subject
        return {
            "kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
            "resource": {"group": kind.group, "version": kind.version, "resource": kind.plural},
            "subResource": review.subresource,
            "name": subject.name,
            "namespace": subject.name if kind.kind == "Namespace" else subject.namespace,
            "operation": review.operation,
            "userInfo": {"username": review.caller.user, "extra": {"ursa.dev/tenant": [subject.tenant]}},
            "object": _manifest(review.obj, is_new=review.operation == CREATE and not review.subresource),
            "oldObject": _manifest(review.old, is_new=False),
            "dryRun": review.dry_run,
        }

    @cached_property
    def key(self) -> str:
        text = json.dumps(self._request, separators=(",", ":"), sort_keys=True, default=_as_text)
        return hashlib.sha256(f"{self.hook.identity}\n{text}".encode()).hexdigest()

    def body(self, uid: str) -> bytes:
        review = {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {"uid": uid, **self._request},
        }
        return json.dumps(review, separators=(",", ":"), default=_as_text).encode()

    def answer(self, uid: str, data: bytes) -> Answer:
        """Raises ValueError: this is no answer to it; the text says why."""
        response = _response(data)
        if response.get("uid") != uid:
            raise ValueError(f"the response has the uid {response.get('uid')!r}, the request had {uid!r}")
        if not isinstance(response.get("allowed"), bool):
            raise ValueError("response.allowed must be true or false")
        warnings = response.get("warnings") or ()
        if not isinstance(warnings, list | tuple) or not all(isinstance(warning, str) for warning in warnings):
            raise ValueError("response.warnings must be a list of strings")
        if not response["allowed"]:
            return Answer(_refusal(self.hook, response.get("status")), (), tuple(warnings))
        return Answer(None, self._patch(response), tuple(warnings))

    def _patch(self, response: Mapping[str, Any]) -> tuple[Any, ...]:
        if not response.get("patch"):
            return ()
        if not self.hook.mutating:
            raise ValueError("a validating webhook must not send a patch")
        if response.get("patchType") != "JSONPatch":
            raise ValueError(f"response.patchType must be JSONPatch, not {response.get('patchType')!r}")
        patch = json.loads(base64.b64decode(response["patch"], validate=True))
        if not isinstance(patch, list):
            raise ValueError("response.patch must be a list of operations")
        return tuple(patch)


def patched(hook: Hook, obj: Object, patch: Sequence[Any]) -> Object:
    """Raises InternalError: the patch does not fit."""
    try:
        return Object.from_dict(json_patch(obj.to_dict(), list(patch)))
    except (BadRequest, Invalid, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InternalError(f"the patch of admission webhook {hook.key} does not fit: {error}") from None


def _manifest(obj: Object | None, *, is_new: bool) -> dict[str, Any] | None:
    """A new object has no identity yet: each attempt to write it would give it another one."""
    if obj is None:
        return None
    manifest = obj.to_dict()
    if is_new:
        for field in ("uid", "creationTimestamp", "generation", "resourceVersion"):
            manifest["metadata"].pop(field, None)
    return manifest


def _response(data: bytes) -> Mapping[str, Any]:
    try:
        review = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the answer is no JSON: {error}") from None
    if not isinstance(review, Mapping) or not isinstance(review.get("response"), Mapping):
        raise ValueError("the answer is no AdmissionReview with a response")
    if review.get("apiVersion") != "admission.k8s.io/v1":
        raise ValueError(f"the answer is of {review.get('apiVersion')!r}, asked for admission.k8s.io/v1")
    response: Mapping[str, Any] = review["response"]
    return response


def _refusal(hook: Hook, status: Any) -> ApiError:
    """As Kubernetes: the webhook's reason where it is one, else Forbidden; always with the webhook's name."""
    told = status if isinstance(status, Mapping) else {}
    text = f'admission webhook "{hook.name}" denied the request'
    message = told.get("message") or told.get("reason")
    text = f"{text}: {message}" if message else f"{text} without explanation"
    reason = told.get("reason")
    error = from_status(pb.Status(reason=reason, message=text)) if isinstance(reason, str) else None
    return error if error is not None and error.reason == reason and error.code < 500 else Forbidden(text)


def _rule_matches(rule: Mapping[str, Any], review: Review) -> bool:
    kind = review.kind
    return (
        _lists(rule.get("operations"), review.operation)
        and _lists(rule.get("apiGroups"), kind.group)
        and _lists(rule.get("apiVersions"), kind.version)
        and any(_resource_matches(str(each), kind.plural, review.subresource) for each in rule.get("resources") or ())
        and rule.get("scope", _ANY) in (_ANY, "Cluster" if kind.scope is not Scope.NAMESPACE else "Namespaced")
    )


def _lists(allowed: Any, value: str) -> bool:
    return bool(allowed) and (_ANY in allowed or value in allowed)


def _resource_matches(pattern: str, plural: str, subresource: str) -> bool:
    """`pods`, `pods/status`, `pods/*`, `*/status`, `*` (no subresources), `*/*`."""
    resource, _, part = pattern.partition("/")
    return resource in (_ANY, plural) and part in (_ANY, subresource)


def _selected(selector: Selector, obj: Object | None) -> bool:
    return obj is not None and selects(selector, dict(obj.labels).get)


def _labels_of_namespace(review: Review, namespace_labels: NamespaceLabels) -> Mapping[str, str] | None:
    """None: the object is in no namespace, and selectors of namespaces do not concern it."""
    kind, subject = review.kind, review.subject
    if kind.kind == "Namespace":
        return {**subject.labels, NAMESPACE_NAME_LABEL: subject.name}
    if kind.scope is not Scope.NAMESPACE:
        return None
    return {**namespace_labels(subject.tenant, subject.namespace), NAMESPACE_NAME_LABEL: subject.namespace}


def _as_text(value: Any) -> str:
    """Bytes are base64 in JSON; everything else that is not JSON's is as it prints."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
