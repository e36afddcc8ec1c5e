"""Whether all that a tenant has is in sight of a controller, where the tenant may have come from another partition.

What a tenant has comes object by object, and until all is there nothing but that is written. But what a controller
decides from half of it may arrive later. So of a tenant that has moved it decides nothing before its views are complete
up to where the tenant was opened.
"""

from __future__ import annotations

from collections.abc import Callable

from ...proto.objects import Object, ObjectKey
from ...proto.tenants import ACTIVE, record_of
from ..informer import Informer


def all_in_sight(tenants: Informer | None, obj: Object, complete_up_to: Callable[[], int]) -> bool:
    """Of the tenant of an object in sight. `complete_up_to`: the revision up to which all other views are."""
    if tenants is None or not obj.tenant:
        return True
    tenant = tenants.objects.get(ObjectKey("", "", obj.tenant))
    if tenant is None:
        return tenants.resource_version >= obj.resource_version  # Else it is still to be seen.
    record = record_of(tenant)
    if not record.epoch:
        return True  # It was never anywhere else.
    if record.state != ACTIVE or tenants.resource_version < obj.resource_version:
        return False
    return complete_up_to() >= tenant.resource_version
