from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OwnerReference(_message.Message):
    __slots__ = ("api_version", "kind", "name", "uid", "controller", "block_owner_deletion")
    API_VERSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    CONTROLLER_FIELD_NUMBER: _ClassVar[int]
    BLOCK_OWNER_DELETION_FIELD_NUMBER: _ClassVar[int]
    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool
    block_owner_deletion: bool
    def __init__(self, api_version: _Optional[str] = ..., kind: _Optional[str] = ..., name: _Optional[str] = ..., uid: _Optional[str] = ..., controller: _Optional[bool] = ..., block_owner_deletion: _Optional[bool] = ...) -> None: ...

class ManagedFields(_message.Message):
    __slots__ = ("manager", "operation", "api_version", "time_ms", "fields_v1", "subresource")
    MANAGER_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    API_VERSION_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    FIELDS_V1_FIELD_NUMBER: _ClassVar[int]
    SUBRESOURCE_FIELD_NUMBER: _ClassVar[int]
    manager: str
    operation: str
    api_version: str
    time_ms: int
    fields_v1: bytes
    subresource: str
    def __init__(self, manager: _Optional[str] = ..., operation: _Optional[str] = ..., api_version: _Optional[str] = ..., time_ms: _Optional[int] = ..., fields_v1: _Optional[bytes] = ..., subresource: _Optional[str] = ...) -> None: ...

class ObjectMeta(_message.Message):
    __slots__ = ("name", "generate_name", "namespace", "tenant", "uid", "resource_version", "generation", "creation_ms", "deletion_ms", "deletion_grace_seconds", "labels", "annotations", "finalizers", "owner_references", "managed_fields", "request_id")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class AnnotationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    GENERATE_NAME_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    CREATION_MS_FIELD_NUMBER: _ClassVar[int]
    DELETION_MS_FIELD_NUMBER: _ClassVar[int]
    DELETION_GRACE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    FINALIZERS_FIELD_NUMBER: _ClassVar[int]
    OWNER_REFERENCES_FIELD_NUMBER: _ClassVar[int]
    MANAGED_FIELDS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    generate_name: str
    namespace: str
    tenant: str
    uid: str
    resource_version: int
    generation: int
    creation_ms: int
    deletion_ms: int
    deletion_grace_seconds: int
    labels: _containers.ScalarMap[str, str]
    annotations: _containers.ScalarMap[str, str]
    finalizers: _containers.RepeatedScalarFieldContainer[str]
    owner_references: _containers.RepeatedCompositeFieldContainer[OwnerReference]
    managed_fields: _containers.RepeatedCompositeFieldContainer[ManagedFields]
    request_id: bytes
    def __init__(self, name: _Optional[str] = ..., generate_name: _Optional[str] = ..., namespace: _Optional[str] = ..., tenant: _Optional[str] = ..., uid: _Optional[str] = ..., resource_version: _Optional[int] = ..., generation: _Optional[int] = ..., creation_ms: _Optional[int] = ..., deletion_ms: _Optional[int] = ..., deletion_grace_seconds: _Optional[int] = ..., labels: _Optional[_Mapping[str, str]] = ..., annotations: _Optional[_Mapping[str, str]] = ..., finalizers: _Optional[_Iterable[str]] = ..., owner_references: _Optional[_Iterable[_Union[OwnerReference, _Mapping]]] = ..., managed_fields: _Optional[_Iterable[_Union[ManagedFields, _Mapping]]] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class Object(_message.Message):
    __slots__ = ("api_version", "kind", "metadata", "spec", "status", "rest")
    API_VERSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REST_FIELD_NUMBER: _ClassVar[int]
    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: bytes
    status: bytes
    rest: bytes
    def __init__(self, api_version: _Optional[str] = ..., kind: _Optional[str] = ..., metadata: _Optional[_Union[ObjectMeta, _Mapping]] = ..., spec: _Optional[bytes] = ..., status: _Optional[bytes] = ..., rest: _Optional[bytes] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("code", "reason", "message", "key", "resource_version", "causes", "retry_after_ms", "continue_token", "trace")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    CAUSES_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    CONTINUE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    key: str
    resource_version: int
    causes: _containers.RepeatedCompositeFieldContainer[Cause]
    retry_after_ms: int
    continue_token: str
    trace: str
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., key: _Optional[str] = ..., resource_version: _Optional[int] = ..., causes: _Optional[_Iterable[_Union[Cause, _Mapping]]] = ..., retry_after_ms: _Optional[int] = ..., continue_token: _Optional[str] = ..., trace: _Optional[str] = ...) -> None: ...

class Cause(_message.Message):
    __slots__ = ("field", "reason", "message")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    field: str
    reason: str
    message: str
    def __init__(self, field: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("resource", "tenant", "namespace", "name", "resource_version", "incarnation", "subresource")
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SUBRESOURCE_FIELD_NUMBER: _ClassVar[int]
    resource: str
    tenant: str
    namespace: str
    name: str
    resource_version: str
    incarnation: str
    subresource: str
    def __init__(self, resource: _Optional[str] = ..., tenant: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ..., resource_version: _Optional[str] = ..., incarnation: _Optional[str] = ..., subresource: _Optional[str] = ...) -> None: ...

class GetReply(_message.Message):
    __slots__ = ("object", "resource_version", "incarnation")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    object: Object
    resource_version: int
    incarnation: str
    def __init__(self, object: _Optional[_Union[Object, _Mapping]] = ..., resource_version: _Optional[int] = ..., incarnation: _Optional[str] = ...) -> None: ...

class Selection(_message.Message):
    __slots__ = ("resource", "tenant", "namespace", "label_selector", "field_selector", "metadata_only")
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    LABEL_SELECTOR_FIELD_NUMBER: _ClassVar[int]
    FIELD_SELECTOR_FIELD_NUMBER: _ClassVar[int]
    METADATA_ONLY_FIELD_NUMBER: _ClassVar[int]
    resource: str
    tenant: str
    namespace: str
    label_selector: str
    field_selector: str
    metadata_only: bool
    def __init__(self, resource: _Optional[str] = ..., tenant: _Optional[str] = ..., namespace: _Optional[str] = ..., label_selector: _Optional[str] = ..., field_selector: _Optional[str] = ..., metadata_only: _Optional[bool] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("selection", "resource_version", "exact", "limit", "continue_token", "not_older_than", "incarnation")
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CONTINUE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    NOT_OLDER_THAN_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    selection: Selection
    resource_version: str
    exact: bool
    limit: int
    continue_token: str
    not_older_than: bool
    incarnation: str
    def __init__(self, selection: _Optional[_Union[Selection, _Mapping]] = ..., resource_version: _Optional[str] = ..., exact: _Optional[bool] = ..., limit: _Optional[int] = ..., continue_token: _Optional[str] = ..., not_older_than: _Optional[bool] = ..., incarnation: _Optional[str] = ...) -> None: ...

class ListReply(_message.Message):
    __slots__ = ("items", "resource_version", "continue_token", "remaining", "incarnation")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    CONTINUE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Object]
    resource_version: int
    continue_token: str
    remaining: int
    incarnation: str
    def __init__(self, items: _Optional[_Iterable[_Union[Object, _Mapping]]] = ..., resource_version: _Optional[int] = ..., continue_token: _Optional[str] = ..., remaining: _Optional[int] = ..., incarnation: _Optional[str] = ...) -> None: ...

class Preconditions(_message.Message):
    __slots__ = ("uid", "resource_version")
    UID_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    uid: str
    resource_version: int
    def __init__(self, uid: _Optional[str] = ..., resource_version: _Optional[int] = ...) -> None: ...

class Create(_message.Message):
    __slots__ = ("object",)
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    object: Object
    def __init__(self, object: _Optional[_Union[Object, _Mapping]] = ...) -> None: ...

class Update(_message.Message):
    __slots__ = ("object", "subresource")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    SUBRESOURCE_FIELD_NUMBER: _ClassVar[int]
    object: Object
    subresource: str
    def __init__(self, object: _Optional[_Union[Object, _Mapping]] = ..., subresource: _Optional[str] = ...) -> None: ...

class Patch(_message.Message):
    __slots__ = ("target", "type", "body", "subresource", "force")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MERGE: _ClassVar[Patch.Type]
        JSON: _ClassVar[Patch.Type]
        STRATEGIC_MERGE: _ClassVar[Patch.Type]
        APPLY: _ClassVar[Patch.Type]
    MERGE: Patch.Type
    JSON: Patch.Type
    STRATEGIC_MERGE: Patch.Type
    APPLY: Patch.Type
    TARGET_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    SUBRESOURCE_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    target: GetRequest
    type: Patch.Type
    body: bytes
    subresource: str
    force: bool
    def __init__(self, target: _Optional[_Union[GetRequest, _Mapping]] = ..., type: _Optional[_Union[Patch.Type, str]] = ..., body: _Optional[bytes] = ..., subresource: _Optional[str] = ..., force: _Optional[bool] = ...) -> None: ...

class Delete(_message.Message):
    __slots__ = ("target", "preconditions", "grace_seconds", "propagation")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PRECONDITIONS_FIELD_NUMBER: _ClassVar[int]
    GRACE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PROPAGATION_FIELD_NUMBER: _ClassVar[int]
    target: GetRequest
    preconditions: Preconditions
    grace_seconds: int
    propagation: str
    def __init__(self, target: _Optional[_Union[GetRequest, _Mapping]] = ..., preconditions: _Optional[_Union[Preconditions, _Mapping]] = ..., grace_seconds: _Optional[int] = ..., propagation: _Optional[str] = ...) -> None: ...

class DeleteCollection(_message.Message):
    __slots__ = ("selection", "grace_seconds", "propagation", "continue_token")
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    GRACE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PROPAGATION_FIELD_NUMBER: _ClassVar[int]
    CONTINUE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    selection: Selection
    grace_seconds: int
    propagation: str
    continue_token: str
    def __init__(self, selection: _Optional[_Union[Selection, _Mapping]] = ..., grace_seconds: _Optional[int] = ..., propagation: _Optional[str] = ..., continue_token: _Optional[str] = ...) -> None: ...

class Evict(_message.Message):
    __slots__ = ("target", "preconditions", "grace_seconds")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PRECONDITIONS_FIELD_NUMBER: _ClassVar[int]
    GRACE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    target: GetRequest
    preconditions: Preconditions
    grace_seconds: int
    def __init__(self, target: _Optional[_Union[GetRequest, _Mapping]] = ..., preconditions: _Optional[_Union[Preconditions, _Mapping]] = ..., grace_seconds: _Optional[int] = ...) -> None: ...

class Bind(_message.Message):
    __slots__ = ("target", "preconditions", "resource_partition", "node", "generation", "devices")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PRECONDITIONS_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_PARTITION_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    target: GetRequest
    preconditions: Preconditions
    resource_partition: str
    node: str
    generation: int
    devices: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, target: _Optional[_Union[GetRequest, _Mapping]] = ..., preconditions: _Optional[_Union[Preconditions, _Mapping]] = ..., resource_partition: _Optional[str] = ..., node: _Optional[str] = ..., generation: _Optional[int] = ..., devices: _Optional[_Iterable[int]] = ...) -> None: ...

class Transfer(_message.Message):
    __slots__ = ("object", "move", "gone")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    MOVE_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    object: Object
    move: str
    gone: bool
    def __init__(self, object: _Optional[_Union[Object, _Mapping]] = ..., move: _Optional[str] = ..., gone: _Optional[bool] = ...) -> None: ...

class Operation(_message.Message):
    __slots__ = ("resource", "create", "update", "patch", "delete", "bind", "delete_collection", "evict", "transfer", "return_object", "dry_run", "field_manager", "field_validation", "request_id")
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    CREATE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    PATCH_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    BIND_FIELD_NUMBER: _ClassVar[int]
    DELETE_COLLECTION_FIELD_NUMBER: _ClassVar[int]
    EVICT_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_FIELD_NUMBER: _ClassVar[int]
    RETURN_OBJECT_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    FIELD_MANAGER_FIELD_NUMBER: _ClassVar[int]
    FIELD_VALIDATION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    resource: str
    create: Create
    update: Update
    patch: Patch
    delete: Delete
    bind: Bind
    delete_collection: DeleteCollection
    evict: Evict
    transfer: Transfer
    return_object: bool
    dry_run: bool
    field_manager: str
    field_validation: str
    request_id: bytes
    def __init__(self, resource: _Optional[str] = ..., create: _Optional[_Union[Create, _Mapping]] = ..., update: _Optional[_Union[Update, _Mapping]] = ..., patch: _Optional[_Union[Patch, _Mapping]] = ..., delete: _Optional[_Union[Delete, _Mapping]] = ..., bind: _Optional[_Union[Bind, _Mapping]] = ..., delete_collection: _Optional[_Union[DeleteCollection, _Mapping]] = ..., evict: _Optional[_Union[Evict, _Mapping]] = ..., transfer: _Optional[_Union[Transfer, _Mapping]] = ..., return_object: _Optional[bool] = ..., dry_run: _Optional[bool] = ..., field_manager: _Optional[str] = ..., field_validation: _Optional[str] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class Fence(_message.Message):
    __slots__ = ("tenant", "namespace", "name", "uid", "term", "holder")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    namespace: str
    name: str
    uid: str
    term: int
    holder: str
    def __init__(self, tenant: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ..., uid: _Optional[str] = ..., term: _Optional[int] = ..., holder: _Optional[str] = ...) -> None: ...

class MutateRequest(_message.Message):
    __slots__ = ("operations", "batch", "trace", "writer", "stream", "resent_behind", "fence")
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    RESENT_BEHIND_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    operations: _containers.RepeatedCompositeFieldContainer[Operation]
    batch: int
    trace: str
    writer: bytes
    stream: int
    resent_behind: str
    fence: Fence
    def __init__(self, operations: _Optional[_Iterable[_Union[Operation, _Mapping]]] = ..., batch: _Optional[int] = ..., trace: _Optional[str] = ..., writer: _Optional[bytes] = ..., stream: _Optional[int] = ..., resent_behind: _Optional[str] = ..., fence: _Optional[_Union[Fence, _Mapping]] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("resource_version", "uid", "name", "object", "error", "warnings", "continue_token", "deleted")
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    CONTINUE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    resource_version: int
    uid: str
    name: str
    object: Object
    error: Status
    warnings: _containers.RepeatedScalarFieldContainer[str]
    continue_token: str
    deleted: int
    def __init__(self, resource_version: _Optional[int] = ..., uid: _Optional[str] = ..., name: _Optional[str] = ..., object: _Optional[_Union[Object, _Mapping]] = ..., error: _Optional[_Union[Status, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ..., continue_token: _Optional[str] = ..., deleted: _Optional[int] = ...) -> None: ...

class MutateReply(_message.Message):
    __slots__ = ("results", "batch", "position", "forgotten", "writer")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[Result]
    batch: int
    position: str
    forgotten: bool
    writer: bytes
    def __init__(self, results: _Optional[_Iterable[_Union[Result, _Mapping]]] = ..., batch: _Optional[int] = ..., position: _Optional[str] = ..., forgotten: _Optional[bool] = ..., writer: _Optional[bytes] = ...) -> None: ...

class WatchStart(_message.Message):
    __slots__ = ("id", "selection", "resource_version", "initial_events", "incarnation")
    ID_FIELD_NUMBER: _ClassVar[int]
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    INITIAL_EVENTS_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    id: int
    selection: Selection
    resource_version: int
    initial_events: bool
    incarnation: str
    def __init__(self, id: _Optional[int] = ..., selection: _Optional[_Union[Selection, _Mapping]] = ..., resource_version: _Optional[int] = ..., initial_events: _Optional[bool] = ..., incarnation: _Optional[str] = ...) -> None: ...

class WatchStop(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("start", "stop")
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    start: _containers.RepeatedCompositeFieldContainer[WatchStart]
    stop: _containers.RepeatedCompositeFieldContainer[WatchStop]
    def __init__(self, start: _Optional[_Iterable[_Union[WatchStart, _Mapping]]] = ..., stop: _Optional[_Iterable[_Union[WatchStop, _Mapping]]] = ...) -> None: ...

class WatchEvent(_message.Message):
    __slots__ = ("type", "object", "resource_version")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ADDED: _ClassVar[WatchEvent.Type]
        MODIFIED: _ClassVar[WatchEvent.Type]
        DELETED: _ClassVar[WatchEvent.Type]
    ADDED: WatchEvent.Type
    MODIFIED: WatchEvent.Type
    DELETED: WatchEvent.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    type: WatchEvent.Type
    object: Object
    resource_version: int
    def __init__(self, type: _Optional[_Union[WatchEvent.Type, str]] = ..., object: _Optional[_Union[Object, _Mapping]] = ..., resource_version: _Optional[int] = ...) -> None: ...

class WatchBatch(_message.Message):
    __slots__ = ("id", "events", "initial_events_end", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    INITIAL_EVENTS_END_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: int
    events: _containers.RepeatedCompositeFieldContainer[WatchEvent]
    initial_events_end: bool
    error: Status
    def __init__(self, id: _Optional[int] = ..., events: _Optional[_Iterable[_Union[WatchEvent, _Mapping]]] = ..., initial_events_end: _Optional[bool] = ..., error: _Optional[_Union[Status, _Mapping]] = ...) -> None: ...

class WatchReply(_message.Message):
    __slots__ = ("resource_version", "batches", "incarnation", "store")
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    resource_version: int
    batches: _containers.RepeatedCompositeFieldContainer[WatchBatch]
    incarnation: str
    store: str
    def __init__(self, resource_version: _Optional[int] = ..., batches: _Optional[_Iterable[_Union[WatchBatch, _Mapping]]] = ..., incarnation: _Optional[str] = ..., store: _Optional[str] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PartitionStatus(_message.Message):
    __slots__ = ("name", "role", "objects", "watches", "stores")
    class ObjectsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    WATCHES_FIELD_NUMBER: _ClassVar[int]
    STORES_FIELD_NUMBER: _ClassVar[int]
    name: str
    role: str
    objects: _containers.ScalarMap[str, int]
    watches: int
    stores: _containers.RepeatedCompositeFieldContainer[StoreStatus]
    def __init__(self, name: _Optional[str] = ..., role: _Optional[str] = ..., objects: _Optional[_Mapping[str, int]] = ..., watches: _Optional[int] = ..., stores: _Optional[_Iterable[_Union[StoreStatus, _Mapping]]] = ...) -> None: ...

class StoreStatus(_message.Message):
    __slots__ = ("name", "incarnation", "resource_version", "compacted_resource_version", "bytes", "bytes_max", "alarms", "backend", "keys", "bytes_on_disk", "leases")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    COMPACTED_RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    ALARMS_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    BYTES_ON_DISK_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    name: str
    incarnation: str
    resource_version: int
    compacted_resource_version: int
    bytes: int
    bytes_max: int
    alarms: _containers.RepeatedScalarFieldContainer[str]
    backend: str
    keys: int
    bytes_on_disk: int
    leases: int
    def __init__(self, name: _Optional[str] = ..., incarnation: _Optional[str] = ..., resource_version: _Optional[int] = ..., compacted_resource_version: _Optional[int] = ..., bytes: _Optional[int] = ..., bytes_max: _Optional[int] = ..., alarms: _Optional[_Iterable[str]] = ..., backend: _Optional[str] = ..., keys: _Optional[int] = ..., bytes_on_disk: _Optional[int] = ..., leases: _Optional[int] = ...) -> None: ...

class RequestsRequest(_message.Message):
    __slots__ = ("slow_max",)
    SLOW_MAX_FIELD_NUMBER: _ClassVar[int]
    slow_max: int
    def __init__(self, slow_max: _Optional[int] = ...) -> None: ...

class RequestsReply(_message.Message):
    __slots__ = ("name", "seconds", "rows", "slow", "slow_seconds")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SLOW_FIELD_NUMBER: _ClassVar[int]
    SLOW_SECONDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    seconds: float
    rows: _containers.RepeatedCompositeFieldContainer[RequestsRow]
    slow: _containers.RepeatedCompositeFieldContainer[SlowRequest]
    slow_seconds: float
    def __init__(self, name: _Optional[str] = ..., seconds: _Optional[float] = ..., rows: _Optional[_Iterable[_Union[RequestsRow, _Mapping]]] = ..., slow: _Optional[_Iterable[_Union[SlowRequest, _Mapping]]] = ..., slow_seconds: _Optional[float] = ...) -> None: ...

class RequestsRow(_message.Message):
    __slots__ = ("user", "agent", "verb", "resource", "level", "requests", "operations", "errors", "p50_seconds", "p99_seconds", "mean", "bytes_in", "bytes_out")
    USER_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    VERB_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    P50_SECONDS_FIELD_NUMBER: _ClassVar[int]
    P99_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    BYTES_IN_FIELD_NUMBER: _ClassVar[int]
    BYTES_OUT_FIELD_NUMBER: _ClassVar[int]
    user: str
    agent: str
    verb: str
    resource: str
    level: str
    requests: int
    operations: int
    errors: int
    p50_seconds: float
    p99_seconds: float
    mean: PhaseSeconds
    bytes_in: int
    bytes_out: int
    def __init__(self, user: _Optional[str] = ..., agent: _Optional[str] = ..., verb: _Optional[str] = ..., resource: _Optional[str] = ..., level: _Optional[str] = ..., requests: _Optional[int] = ..., operations: _Optional[int] = ..., errors: _Optional[int] = ..., p50_seconds: _Optional[float] = ..., p99_seconds: _Optional[float] = ..., mean: _Optional[_Union[PhaseSeconds, _Mapping]] = ..., bytes_in: _Optional[int] = ..., bytes_out: _Optional[int] = ...) -> None: ...

class PhaseSeconds(_message.Message):
    __slots__ = ("queue", "admission", "encode", "store", "write")
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    ADMISSION_FIELD_NUMBER: _ClassVar[int]
    ENCODE_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    WRITE_FIELD_NUMBER: _ClassVar[int]
    queue: float
    admission: float
    encode: float
    store: float
    write: float
    def __init__(self, queue: _Optional[float] = ..., admission: _Optional[float] = ..., encode: _Optional[float] = ..., store: _Optional[float] = ..., write: _Optional[float] = ...) -> None: ...

class SlowRequest(_message.Message):
    __slots__ = ("time_ms", "trace", "user", "agent", "level", "counts", "seconds", "split", "bytes_in", "bytes_out")
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    BYTES_IN_FIELD_NUMBER: _ClassVar[int]
    BYTES_OUT_FIELD_NUMBER: _ClassVar[int]
    time_ms: int
    trace: str
    user: str
    agent: str
    level: str
    counts: _containers.RepeatedCompositeFieldContainer[RequestCount]
    seconds: float
    split: PhaseSeconds
    bytes_in: int
    bytes_out: int
    def __init__(self, time_ms: _Optional[int] = ..., trace: _Optional[str] = ..., user: _Optional[str] = ..., agent: _Optional[str] = ..., level: _Optional[str] = ..., counts: _Optional[_Iterable[_Union[RequestCount, _Mapping]]] = ..., seconds: _Optional[float] = ..., split: _Optional[_Union[PhaseSeconds, _Mapping]] = ..., bytes_in: _Optional[int] = ..., bytes_out: _Optional[int] = ...) -> None: ...

class RequestCount(_message.Message):
    __slots__ = ("verb", "resource", "code", "count")
    VERB_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    verb: str
    resource: str
    code: int
    count: int
    def __init__(self, verb: _Optional[str] = ..., resource: _Optional[str] = ..., code: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class CompactRequest(_message.Message):
    __slots__ = ("store", "resource_version")
    STORE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    store: str
    resource_version: int
    def __init__(self, store: _Optional[str] = ..., resource_version: _Optional[int] = ...) -> None: ...

class CompactReply(_message.Message):
    __slots__ = ("compacted_resource_version", "bytes_before", "bytes", "error", "working")
    COMPACTED_RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    BYTES_BEFORE_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    WORKING_FIELD_NUMBER: _ClassVar[int]
    compacted_resource_version: int
    bytes_before: int
    bytes: int
    error: Status
    working: bool
    def __init__(self, compacted_resource_version: _Optional[int] = ..., bytes_before: _Optional[int] = ..., bytes: _Optional[int] = ..., error: _Optional[_Union[Status, _Mapping]] = ..., working: _Optional[bool] = ...) -> None: ...

class DefragmentRequest(_message.Message):
    __slots__ = ("store",)
    STORE_FIELD_NUMBER: _ClassVar[int]
    store: str
    def __init__(self, store: _Optional[str] = ...) -> None: ...

class DefragmentReply(_message.Message):
    __slots__ = ("bytes_on_disk_before", "bytes_on_disk", "error", "working")
    BYTES_ON_DISK_BEFORE_FIELD_NUMBER: _ClassVar[int]
    BYTES_ON_DISK_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    WORKING_FIELD_NUMBER: _ClassVar[int]
    bytes_on_disk_before: int
    bytes_on_disk: int
    error: Status
    working: bool
    def __init__(self, bytes_on_disk_before: _Optional[int] = ..., bytes_on_disk: _Optional[int] = ..., error: _Optional[_Union[Status, _Mapping]] = ..., working: _Optional[bool] = ...) -> None: ...

class DigestRequest(_message.Message):
    __slots__ = ("store", "resource_version")
    STORE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    store: str
    resource_version: int
    def __init__(self, store: _Optional[str] = ..., resource_version: _Optional[int] = ...) -> None: ...

class DigestReply(_message.Message):
    __slots__ = ("digest", "resource_version", "incarnation", "error", "working")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    WORKING_FIELD_NUMBER: _ClassVar[int]
    digest: str
    resource_version: int
    incarnation: str
    error: Status
    working: bool
    def __init__(self, digest: _Optional[str] = ..., resource_version: _Optional[int] = ..., incarnation: _Optional[str] = ..., error: _Optional[_Union[Status, _Mapping]] = ..., working: _Optional[bool] = ...) -> None: ...

class SnapshotRequest(_message.Message):
    __slots__ = ("store",)
    STORE_FIELD_NUMBER: _ClassVar[int]
    store: str
    def __init__(self, store: _Optional[str] = ...) -> None: ...

class SnapshotReply(_message.Message):
    __slots__ = ("data", "sha256", "bytes_total", "resource_version", "incarnation", "error", "working")
    DATA_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    BYTES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    WORKING_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    sha256: bytes
    bytes_total: int
    resource_version: int
    incarnation: str
    error: Status
    working: bool
    def __init__(self, data: _Optional[bytes] = ..., sha256: _Optional[bytes] = ..., bytes_total: _Optional[int] = ..., resource_version: _Optional[int] = ..., incarnation: _Optional[str] = ..., error: _Optional[_Union[Status, _Mapping]] = ..., working: _Optional[bool] = ...) -> None: ...
