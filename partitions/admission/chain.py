"""The chain of plugins and webhooks that a write goes through.

    create, update, patch ──> mutating plugins ──> mutating webhooks ──> defaults and rules of the kind
                                                                                   │
           stage <── validating webhooks <── validating plugins <── quota, ledger ─┘

Without plugins and webhooks there is no chain, and it costs a write nothing. Webhooks are elsewhere, and take time; but
a write is planned in one step, against the newest state. So whoever plans it is told by `Unanswered` what must be asked
first, and plans anew when there are answers: `Session.answers`, by what exactly was asked. If the state has changed
meanwhile so that something else would be asked, then that is asked, and no answer is used for what it was not given to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from ...proto import ursa_pb2 as pb
from ...proto.errors import ApiError, InternalError
from ...proto.kinds import Kind
from ...proto.objects import Object
from ...proto.sessions import Caller
from ..entries import Entry
from .contents import check_decodes
from .reviews import CREATE, DELETE, UPDATE, MutatingPlugin, Plugin, Review, ValidatingPlugin
from .timing import AdmissionMetrics
from .webhooks import Answer, Answers, Ask, Hooks, patched

log = logging.getLogger("ursa.admission")

ADMIT, VALIDATE = "admit", "validate"
_DELETING_VERBS = ("delete", "evict", "delete_collection")


class Unanswered(Exception):
    """Webhooks that must be asked before a write can be planned."""

    def __init__(self, asks: Sequence[Ask]) -> None:
        super().__init__(", ".join(ask.hook.key for ask in asks))
        self.asks = asks


class Admission:
    """The plugins and webhooks of a partition. Owned by its loop."""

    def __init__(
        self, plugins: Sequence[Plugin], hooks: Hooks, clock: Callable[[], float], metrics: AdmissionMetrics
    ) -> None:
        self._mutating = [plugin for plugin in plugins if isinstance(plugin, MutatingPlugin)]
        self._validating = [plugin for plugin in plugins if isinstance(plugin, ValidatingPlugin)]
        self.hooks = hooks
        self._clock = clock
        self._metrics = metrics
        self._mutating_for: dict[tuple[str, str], list[MutatingPlugin]] = {}
        self._validating_for: dict[tuple[str, str], list[ValidatingPlugin]] = {}

    @property
    def active(self) -> bool:
        """Whether there is anyone to ask."""
        return bool(self._mutating or self._validating or self.hooks.present)

    def mutate(self, review: Review, session: Session) -> Object:
        """Raises ApiError: refused. Unanswered: webhooks must be asked first."""
        assert review.obj is not None, "what is deleted is not changed"
        key = (review.operation, review.kind.resource)
        plugins = self._mutating_for.get(key)
        if plugins is None:
            plugins = [plugin for plugin in self._mutating if plugin.handles(review.operation, review.kind)]
            self._mutating_for[key] = plugins
        obj = review.obj
        for plugin in plugins:
            review = _with(review, obj)
            changed = self._run(plugin, ADMIT, review, plugin.mutate)
            if changed is not None:
                obj = _same_name(plugin.name, obj, changed)
        for hook in self.hooks.matching(_with(review, obj), mutating=True):
            ask = Ask(hook, _with(review, obj))
            answer = session.answer([ask])[0]
            if answer.patch:
                obj = _same_name(f"webhook {hook.key}", obj, patched(hook, obj, answer.patch))
        return obj

    def validate(self, review: Review, session: Session) -> None:
        """Raises ApiError: refused. Unanswered: webhooks must be asked first."""
        key = (review.operation, review.kind.resource)
        plugins = self._validating_for.get(key)
        if plugins is None:
            plugins = [plugin for plugin in self._validating if plugin.handles(review.operation, review.kind)]
            self._validating_for[key] = plugins
        for plugin in plugins:
            self._run(plugin, VALIDATE, review, plugin.validate)
        hooks = self.hooks.matching(review, mutating=False)
        if hooks:
            session.answer([Ask(hook, review) for hook in hooks])

    def _run(self, plugin: Plugin, what: str, review: Review, run: Callable[[Review], Object | None]) -> Object | None:
        started = self._clock()
        rejected = True
        try:
            result = run(review)
            rejected = False
        except ApiError:
            raise
        except Exception as error:
            log.exception("admission plugin %s failed", plugin.name)
            raise InternalError(f"admission plugin {plugin.name} failed: {error!r}") from error
        finally:
            self._metrics.plugin(plugin.name, what, review.operation, self._clock() - started, rejected=rejected)
        return result


class Session:
    """One attempt to plan one operation."""

    def __init__(self, admission: Admission, operation: pb.Operation, caller: Caller, answers: Answers) -> None:
        verb = operation.WhichOneof("verb") or ""
        self._admission = admission
        self._caller = caller
        self._answers = answers
        self._dry_run = operation.dry_run
        self._deletes = verb in _DELETING_VERBS
        self._subresource = "binding" if verb == "bind" else _status_of(operation, verb)
        self.warnings: tuple[str, ...] = ()

    def mutate(self, kind: Kind, new: pb.Object, old: pb.Object | None) -> pb.Object:
        """What is to be stored in place of `new`.

        Raises:
            ApiError: refused, or no object that could be shown to anyone. Unanswered: webhooks must be asked first.
        """
        check_decodes(new, new.metadata.name)
        return self._admission.mutate(self._review(kind, new, old), self).message

    def validate(self, kind: Kind, new: pb.Object, old: Entry | None) -> None:
        """Of an object as it would be stored; of a deletion, `new` is ignored."""
        message = None if old is None else old.message()
        self._admission.validate(self._review(kind, None if self._deletes else new, message), self)

    def answer(self, asks: Sequence[Ask]) -> list[Answer]:
        missing = [ask for ask in asks if ask.key not in self._answers]
        if missing:
            raise Unanswered(missing)
        answers = [self._answers[ask.key] for ask in asks]
        for answer in answers:
            if answer.refusal is not None:
                raise answer.refusal
            self.warnings += answer.warnings
        return answers

    def _review(self, kind: Kind, new: pb.Object | None, old: pb.Object | None) -> Review:
        operation = CREATE if old is None or self._subresource == "binding" else UPDATE
        if new is None:
            operation = DELETE
        return Review(
            operation,
            kind,
            self._subresource,
            None if new is None else Object(new),
            None if old is None or self._subresource == "binding" else Object(old),
            self._caller,
            self._dry_run,
        )


def _status_of(operation: pb.Operation, verb: str) -> str:
    """Scale and apply are about the object; only of status they are apart."""
    if verb in ("update", "patch") and getattr(operation, verb).subresource == "status":
        return "status"
    return ""


def _with(review: Review, obj: Object) -> Review:
    if obj is review.obj:
        return review
    return Review(review.operation, review.kind, review.subresource, obj, review.old, review.caller, review.dry_run)


def _same_name(who: str, before: Object, after: Object) -> Object:
    if after.key != before.key or (after.kind, after.api_version) != (before.kind, before.api_version):
        raise InternalError(f"{who} made {after.kind} {after.key} of {before.kind} {before.key}: it must keep the name")
    return after
