"""Webhooks over HTTPS: whose certificates a partition accepts, and what a write hears when it does not."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import pytest
import trustme
from aiohttp import web
from prometheus_client import CollectorRegistry
from ursa.partitions import ApiServer
from ursa.partitions.frontends.webhooks import HttpWebhookCaller
from ursa.partitions.process import AsyncioRuntime
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError
from ursa.proto.kinds import BY_KIND, Role
from ursa.proto.objects import Object
from ursa.proto.sessions import Caller
from ursa.storage import MemoryStore

from ..conftest import HandCommitter, pod

AUTHORITY = trustme.CA()
SERVER = AUTHORITY.issue_cert("127.0.0.1")
PAST = datetime.now(UTC) - timedelta(days=2)


class Outcome(NamedTuple):
    result: pb.Result
    asked: int
    failed_open: float | None


def pem(authority: trustme.CA) -> bytes:
    return authority.cert_pem.bytes()


def configuration(url: str, bundle: bytes | str, failure_policy: str = "Fail") -> dict[str, Any]:
    encoded = bundle if isinstance(bundle, str) else base64.b64encode(bundle).decode()
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    webhook = {
        "name": "check.example.com",
        "clientConfig": {"url": url, "caBundle": encoded},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": failure_policy,
        "rules": [rule],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "check"},
        "webhooks": [webhook],
    }


async def write(server: ApiServer, manifest: dict[str, Any]) -> pb.Result:
    answer: asyncio.Future[bytes | ApiError] = asyncio.get_running_loop().create_future()
    operation = pb.Operation(resource=BY_KIND[manifest["kind"]].resource)
    operation.create.object.CopyFrom(Object.from_dict(manifest).message)
    request = pb.MutateRequest(operations=[operation], batch=1).SerializeToString()
    server.call("Write", request, Caller("ann"), answer.set_result)
    data = await answer
    assert isinstance(data, bytes), data
    [result] = pb.MutateReply.FromString(data).results
    return result


async def listening(certificate: trustme.LeafCert, asked: list[str]) -> tuple[web.AppRunner, int]:
    """A webhook that allows everything."""

    async def allow(request: web.Request) -> web.StreamResponse:
        review = await request.json()
        asked.append(review["request"]["name"])
        response = {"uid": review["request"]["uid"], "allowed": True}
        answer = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        return web.Response(body=json.dumps(answer).encode())

    application = web.Application()
    application.router.add_post("/review", allow)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    return runner, runner.addresses[0][1]


def created(
    certificate: trustme.LeafCert, bundle: bytes, *, failure_policy: str = "Fail", host: str = "127.0.0.1"
) -> Outcome:
    """What comes of a pod, where a webhook with this certificate is to be asked."""

    async def main() -> Outcome:
        asked: list[str] = []
        runner, port = await listening(certificate, asked)
        caller, registry = HttpWebhookCaller(), CollectorRegistry()
        store = MemoryStore(HandCommitter(), incarnation="one")
        server = ApiServer("p-1", Role.TENANT, store, AsyncioRuntime(), Random(7), registry, webhook_caller=caller)
        try:
            configured = await write(server, configuration(f"https://{host}:{port}/review", bundle, failure_policy))
            assert not configured.HasField("error"), configured.error
            result = await write(server, pod("p"))
        finally:
            server.close()
            await caller.close()
            await runner.cleanup()
        labels = {"name": "check.example.com", "type": "validate"}
        ignored = registry.get_sample_value("apiserver_admission_webhook_fail_open_count_total", labels)
        return Outcome(result, len(asked), ignored)

    return asyncio.run(main())


def test_a_certificate_of_the_authority_of_the_bundle_is_accepted() -> None:
    outcome = created(SERVER, pem(AUTHORITY))
    assert not outcome.result.HasField("error"), outcome.result.error
    assert outcome.asked == 1


def test_a_bundle_may_have_several_authorities_and_words_between_them() -> None:
    bundle = b"# old\n" + pem(trustme.CA()) + b"# new\n" + pem(AUTHORITY)
    assert created(SERVER, bundle).asked == 1


def test_an_authority_in_the_bundle_need_not_be_a_root() -> None:
    middle = AUTHORITY.create_child_ca()
    assert created(middle.issue_cert("127.0.0.1"), pem(middle)).asked == 1


REFUSED = {
    "of another authority": (SERVER, pem(trustme.CA()), "127.0.0.1", "certificate"),
    "of no authority that the system knows": (SERVER, b"", "127.0.0.1", "certificate"),
    "expired": (AUTHORITY.issue_cert("127.0.0.1", not_after=PAST), pem(AUTHORITY), "127.0.0.1", "expired"),
    "of another address": (AUTHORITY.issue_cert("10.0.0.1"), pem(AUTHORITY), "127.0.0.1", "IP address mismatch"),
    "of another host": (AUTHORITY.issue_cert("example.com"), pem(AUTHORITY), "localhost", "Hostname mismatch"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_any_other_certificate_refuses_the_write_and_says_why(why: str) -> None:
    certificate, bundle, host, told = REFUSED[why]
    outcome = created(certificate, bundle, host=host)
    message = outcome.result.error.message
    assert outcome.result.error.reason == "InternalError"
    assert message.startswith('failed calling webhook "check.example.com" of check: https://')
    assert "its TLS certificate is not accepted: " in message
    assert told in message
    assert outcome.asked == 0, "nothing was told to whoever it is"


@pytest.mark.parametrize("why", REFUSED)
def test_a_webhook_that_may_be_ignored_is_and_that_is_counted(why: str) -> None:
    certificate, bundle, host, _ = REFUSED[why]
    outcome = created(certificate, bundle, host=host, failure_policy="Ignore")
    assert not outcome.result.HasField("error"), outcome.result.error
    assert (outcome.asked, outcome.failed_open) == (0, 1)


_CUT = pem(AUTHORITY).replace(b"A", b"", 7)


@pytest.mark.parametrize(
    "bundle",
    [
        "%%%",
        b"certainly not",
        b"-----BEGIN CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        pem(AUTHORITY) + _CUT,
        "\u00e9".encode() + pem(AUTHORITY),
        AUTHORITY.private_key_pem.bytes(),
        pem(AUTHORITY) * 1001,
    ],
    ids=["base64", "text", "beginning", "empty", "cut", "not-ascii", "key", "many"],
)
def test_a_bundle_that_is_none_is_refused_with_its_configuration(bundle: bytes | str) -> None:
    async def main() -> pb.Result:
        server = ApiServer(
            "p-1", Role.TENANT, MemoryStore(HandCommitter(), incarnation="one"), AsyncioRuntime(), Random(7)
        )
        try:
            return await write(server, configuration("https://127.0.0.1/", bundle))
        finally:
            server.close()

    error = asyncio.run(main()).error
    assert error.reason == "Invalid"
    assert [cause.field for cause in error.causes] == ["webhooks[0].clientConfig.caBundle"]
