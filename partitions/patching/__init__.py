"""The four kinds of patch, and who manages which fields.

Everything here works on manifests, objects in their Kubernetes form, and knows nothing of stores or requests.
"""

from __future__ import annotations

from .field_sets import broken_lists
from .json_patch import json_patch
from .kind_shapes import SCALE, has_merge_keys, shape_of
from .managers import APPLY, UPDATE, Manager, Managers
from .merge_patch import merge_patch
from .shapes import Shape
from .strategic_merge import strategic_merge
from .unknown import check_validation, report_unknown
from .values import DEPTH_MAX, check_depth, copied, decode_body, same, without_nulls

__all__ = [
    "APPLY",
    "DEPTH_MAX",
    "SCALE",
    "UPDATE",
    "Manager",
    "Managers",
    "Shape",
    "broken_lists",
    "check_depth",
    "check_validation",
    "copied",
    "decode_body",
    "has_merge_keys",
    "json_patch",
    "merge_patch",
    "report_unknown",
    "same",
    "shape_of",
    "strategic_merge",
    "without_nulls",
]
