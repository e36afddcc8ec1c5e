"""A link whose two ends do not agree on certificates: one line that says so, and no more than a lost link."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
import trio
import trustme
from ursa.clients.transport.conditions import Conditions, Way
from ursa.clients.transport.grpc import GrpcBridge, GrpcTransport
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Unreachable


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def secure_address(authority: trustme.CA) -> Iterator[str]:
    """Of a gRPC server with a certificate for `localhost`. It knows no method."""
    certificate = authority.issue_cert("localhost")
    key, chain = certificate.private_key_pem.bytes(), b"".join(each.bytes() for each in certificate.cert_chain_pems)
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([(key, chain)]))
    server.start()
    yield f"localhost:{port}"
    server.stop(None).wait()


def trusting(authority: trustme.CA) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(authority.cert_pem.bytes())


def refusal(
    address: str,
    credentials: grpc.ChannelCredentials | None,
    before: Callable[[GrpcBridge], Awaitable[Any]] | None = None,
) -> str:
    """What a call fails with, in one line."""

    async def main() -> str:
        async with GrpcBridge() as bridge:
            transport = GrpcTransport("rp-1", address, bridge, credentials=credentials)
            if before is not None:
                await before(bridge)
            with trio.fail_after(30), pytest.raises(Unreachable) as error:
                await transport.unary("Status", pb.StatusRequest())
            await transport.aclose()
            return str(error.value)

    said = trio.run(main)
    assert "\n" not in said
    assert said.startswith(f"rp-1: no link to {address} ")
    return said


def test_a_certificate_of_another_authority_is_named(secure_address: str) -> None:
    assert "CERTIFICATE_VERIFY_FAILED" in refusal(secure_address, trusting(trustme.CA()))


def test_a_certificate_for_another_host_is_named(authority: trustme.CA, secure_address: str) -> None:
    address = secure_address.replace("localhost", "127.0.0.1")
    assert "127.0.0.1" in refusal(address, trusting(authority))


def test_where_only_one_end_speaks_tls_there_is_no_link(
    authority: trustme.CA, secure_address: str, grpc_link: Any
) -> None:
    assert "UNAVAILABLE" in refusal(secure_address, None)
    assert "UNAVAILABLE" in refusal(grpc_link.address, trusting(authority))


def test_the_right_one_is_accepted_also_where_the_link_is_led_around(
    authority: trustme.CA, secure_address: str
) -> None:
    async def lead_around(bridge: GrpcBridge) -> None:
        await bridge.set_conditions({"rp-1": Conditions(requests=Way(delay_seconds=0.001))})

    for before in (None, lead_around):
        assert "UNIMPLEMENTED" in refusal(secure_address, trusting(authority), before), "it was asked, at least"
