"""MutatingWebhookConfiguration and ValidatingWebhookConfiguration: what may be in them.

What Kubernetes has and is not served here (services, CEL conditions, reinvocation) is refused by name: a rule of
admission that is silently not applied would be worse than none.
"""

from __future__ import annotations

import base64
import ssl
from typing import Any
from urllib.parse import urlsplit

from ...proto import ursa_pb2 as pb
from ...proto.objects import decode_shared
from .strategy import Strategy
from .validation import Causes, check_selector_form, is_subdomain, mapping, sequence
from .webhooks import TIMEOUT_SECONDS_MAX

# More than the bundle of a whole system has; reading one takes 50 us.
CERTIFICATES_MAX = 1000
_BEGINNING = b"-----BEGIN CERTIFICATE-----"
_OPERATIONS = ("CREATE", "UPDATE", "DELETE", "CONNECT", "*")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_FAILURE_POLICIES = ("Fail", "Ignore")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")


class WebhookStrategy(Strategy):
    def check_object(self, message: pb.Object, causes: Causes) -> None:
        names: dict[str, None] = {}
        for number, entry in enumerate(sequence(decode_shared(message.rest).get("webhooks"), "webhooks", causes)):
            field = f"webhooks[{number}]"
            webhook = mapping(entry, field, causes)
            name = webhook.get("name")
            if not isinstance(name, str) or name.count(".") < 2 or not is_subdomain(name):
                causes.add(f"{field}.name", f"must be a domain name of at least three parts, not {name!r}")
            elif name in names:
                causes.add(f"{field}.name", f"{name!r} is the name of another webhook of this configuration")
            else:
                names[name] = None
            _check_webhook(webhook, field, causes)


def _check_webhook(webhook: Any, field: str, causes: Causes) -> None:
    _check_client(mapping(webhook.get("clientConfig"), f"{field}.clientConfig", causes), field, causes)
    versions = sequence(webhook.get("admissionReviewVersions"), f"{field}.admissionReviewVersions", causes)
    if "v1" not in versions:
        causes.add(f"{field}.admissionReviewVersions", "must include v1")
    if webhook.get("sideEffects") not in _SIDE_EFFECTS:
        causes.add(f"{field}.sideEffects", f"must be {' or '.join(_SIDE_EFFECTS)}")
    if webhook.get("failurePolicy") not in (None, *_FAILURE_POLICIES):
        causes.add(f"{field}.failurePolicy", f"must be {' or '.join(_FAILURE_POLICIES)}")
    if webhook.get("matchPolicy") not in (None, "Exact", "Equivalent"):
        causes.add(f"{field}.matchPolicy", "must be Exact or Equivalent")
    if webhook.get("reinvocationPolicy") not in (None, "Never"):
        causes.add(f"{field}.reinvocationPolicy", "must be Never: webhooks are not asked twice about the same")
    if webhook.get("matchConditions"):
        causes.add(f"{field}.matchConditions", "are not served; use rules, namespaceSelector and objectSelector")
    seconds = webhook.get("timeoutSeconds")
    whole = isinstance(seconds, int) and not isinstance(seconds, bool)
    if seconds is not None and not (whole and 1 <= seconds <= TIMEOUT_SECONDS_MAX):
        causes.add(f"{field}.timeoutSeconds", f"must be a whole number from 1 to {TIMEOUT_SECONDS_MAX}")
    for selector in ("namespaceSelector", "objectSelector"):
        check_selector_form(webhook.get(selector), f"{field}.{selector}", causes)
    for number, rule in enumerate(sequence(webhook.get("rules"), f"{field}.rules", causes)):
        _check_rule(rule, f"{field}.rules[{number}]", causes)


def _check_client(client: Any, field: str, causes: Causes) -> None:
    field = f"{field}.clientConfig"
    if client.get("service"):
        causes.add(f"{field}.service", "is not served: there are no services here; give a url")
    url = client.get("url")
    if not isinstance(url, str) or not url:
        causes.require(f"{field}.url")
    elif (problem := _problem_of_url(url)) is not None:
        causes.add(f"{field}.url", problem)
    problem = _problem_of_bundle(client.get("caBundle") or "")
    if problem is not None:
        causes.add(f"{field}.caBundle", problem)


def _problem_of_bundle(encoded: Any) -> str | None:
    """Each certificate is read: of one that cannot be, all writes would hear that the webhook cannot be reached."""
    try:
        bundle = base64.b64decode(encoded, validate=True)
    except (ValueError, TypeError):
        return "must be base64"
    if not bundle:
        return None
    if bundle.count(_BEGINNING) > CERTIFICATES_MAX:
        return f"must have {CERTIFICATES_MAX} certificates at most"
    if _BEGINNING not in bundle:
        return "must be certificates in PEM form, in base64"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=bundle.decode("ascii"))
    except (ValueError, ssl.SSLError) as error:
        return f"must be certificates in PEM form, in base64; one of them cannot be read: {error}"
    return None


def _problem_of_url(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"{url!r} is no URL: {error}"
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        return f"must begin with https:// (http:// only for this host), not {url!r}"
    if not host:
        return "has no host"
    if parts.username is not None or parts.query or parts.fragment:
        return "must have no user, query or fragment"
    return None


def _check_rule(rule: Any, field: str, causes: Causes) -> None:
    rule = mapping(rule, field, causes)
    for part in ("operations", "apiGroups", "apiVersions", "resources"):
        values = sequence(rule.get(part), f"{field}.{part}", causes)
        if not values:
            causes.require(f"{field}.{part}")
        for value in values:
            if not isinstance(value, str):
                causes.add(f"{field}.{part}", f"must be strings, not {value!r}")
            elif part == "operations" and value not in _OPERATIONS:
                causes.add(f"{field}.{part}", f"must be of {', '.join(_OPERATIONS)}, not {value!r}")
    if rule.get("scope") not in (None, "Cluster", "Namespaced", "*"):
        causes.add(f"{field}.scope", "must be Cluster, Namespaced or *")
