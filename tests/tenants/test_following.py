"""Finding what has moved, and knowing when all of a tenant is in sight."""

from __future__ import annotations

import pytest
import trio
from ursa.clients.informer import Informer
from ursa.clients.nurseries import open_background
from ursa.clients.tenants.arrivals import all_in_sight
from ursa.clients.tenants.following import find
from ursa.clients.tenants.moving import arrival, move_tenant
from ursa.proto.errors import LinkError
from ursa.proto.objects import Object, ObjectKey
from ursa.proto.tenants import ACTIVE, ARRIVING, TENANTS, Record, with_record
from ursa.tools.bootstrap import tenant_object

from ..clients.worlds import run
from .regions import Region

KEY = ObjectKey("acme", "default", "a")


def config_map() -> Object:
    metadata = {"name": "a", "namespace": "default", "tenant": "acme"}
    return Object.from_dict({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


def test_what_has_moved_is_found_where_it_is_and_what_is_gone_is_gone() -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients() as clients:
            members = clients.tenant_clients
            await members["tp-1"].create(tenant_object("acme"))
            await members["tp-1"].create(config_map())
            await move_tenant(members["tp-1"], members["tp-2"], "acme")
            found = await find(members, "tp-1", "configmaps", KEY)
            assert found.partition == "tp-2"
            assert found.object is not None
            await members["tp-2"].delete("configmaps", KEY)
            assert await find(members, "tp-1", "configmaps", KEY) == ("tp-2", None)
            region.cut("tp-2")
            with pytest.raises(LinkError):
                await find(members, "tp-1", "configmaps", KEY)

    run(main)


def test_what_a_tenant_that_arrives_does_not_have_yet_is_not_gone() -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients() as clients:
            members = clients.tenant_clients
            tenant = await members["tp-1"].create(tenant_object("acme"))
            await members["tp-2"].mutate([arrival(with_record(tenant, Record(ARRIVING, 1, "tp-1", "m")))])
            with pytest.raises(LinkError, match="is being moved: ask again"):
                await find(members, "tp-2", "configmaps", KEY)

    run(main)


def test_signposts_that_point_at_each_other_lead_to_nothing() -> None:
    """The target was set back to before the tenant came to it again."""

    async def main() -> None:
        async with Region().open() as region, region.clients() as clients:
            members = clients.tenant_clients
            await members["tp-2"].create(tenant_object("acme"))
            await move_tenant(members["tp-2"], members["tp-1"], "acme")
            snapshot = [each for each in region.stored("tp-2") if each.kind == "Tenant"]
            await move_tenant(members["tp-1"], members["tp-2"], "acme")
            await region.set_back("tp-2", snapshot)
            assert await find(members, "tp-1", "configmaps", KEY) == ("tp-2", None)

    run(main)


def test_all_of_a_tenant_is_in_sight_when_views_are_complete_up_to_where_it_was_opened() -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients() as clients, open_background() as nursery:
            members = clients.tenant_clients
            tenants = Informer(members["tp-2"], TENANTS)
            nursery.start_soon(tenants.run)
            await tenants.wait_synced()
            tenant = await members["tp-1"].create(tenant_object("acme"))
            await members["tp-1"].create(config_map())
            await move_tenant(members["tp-1"], members["tp-2"], "acme")
            here = await members["tp-2"].get("configmaps", KEY)
            opened = await members["tp-2"].get(TENANTS, tenant.key)
            while tenant.key not in tenants.objects or tenants.objects[tenant.key].spec["state"] != ACTIVE:
                assert not all_in_sight(tenants, here, lambda: 10**6)
                await trio.sleep(0.01)
            assert not all_in_sight(tenants, here, lambda: opened.resource_version - 1)
            assert all_in_sight(tenants, here, lambda: opened.resource_version)
            stayed = await members["tp-2"].create(tenant_object("other"))
            assert all_in_sight(None, here, lambda: 0)
            assert stayed.spec.get("epoch", 0) == 0

    run(main)
