"""All judges over one recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..recording.records import Record
from . import (
    bindings,
    convergence,
    deletions,
    evictions,
    fullness,
    identity,
    instances,
    jobs,
    kubelets,
    leaders,
    linearizable,
    logs,
    monotonic,
    moves,
    nodes,
    real_time,
    replicas,
    silence,
    tenants,
    told,
    watch_promises,
)
from .recorded import Recording
from .violations import Violation

Judge = Callable[[Recording], Iterator[Violation]]

# Each quotes its promise. Those of the log come first: what is wrong there makes others wrong, too.
JUDGES: tuple[Judge, ...] = (
    logs.logs_are_whole,
    logs.restores_keep_the_snapshot,
    linearizable.nothing_is_told_before_it_is_durable,
    linearizable.writes_happen_once,
    linearizable.reads_tell_what_was,
    real_time.real_time_order,
    watch_promises.watches_lists_and_informers,
    monotonic.clients_never_go_back,
    silence.no_watch_waits_in_silence,
    nodes.no_node_is_overcommitted,
    identity.claims_are_of_the_node_that_was_meant,
    told.restored_partitions_are_told_first,
    bindings.pods_are_bound_where_they_are_placed,
    bindings.schedulers_claim_one_node_at_a_time,
    leaders.deposed_leaders_write_nothing,
    leaders.terms_rise,
    deletions.nothing_that_lives_is_deleted,
    evictions.losing_sight_evicts_nothing,
    kubelets.kubelets_tell_what_is,
    instances.no_two_instances,
    replicas.replicas_stay_within_bounds,
    jobs.pods_of_jobs_are_counted_once,
    tenants.tenants_are_isolated,
    moves.tenants_live_in_one_partition,
    fullness.full_stores_let_go,
    nodes.placements_are_accounted_for,
    convergence.everything_converges,
)

PROMISES: tuple[str, ...] = (
    logs.LOG,
    logs.RESTORED,
    linearizable.DURABLE,
    linearizable.WRITES,
    linearizable.READS,
    real_time.REAL_TIME,
    watch_promises.ORDERED,
    watch_promises.UNIQUE,
    watch_promises.RELIABLE,
    watch_promises.RESUMABLE,
    watch_promises.BOOKMARKABLE,
    watch_promises.FILTER,
    watch_promises.FAITHFUL,
    watch_promises.INITIAL,
    watch_promises.LISTED,
    watch_promises.INFORMER,
    monotonic.MONOTONIC,
    silence.SILENCE,
    nodes.LEDGER,
    nodes.ACCOUNTED,
    identity.IDENTITY,
    told.TOLD,
    bindings.BOUND,
    bindings.CLAIMS,
    leaders.DEPOSED,
    leaders.TERMS,
    deletions.DELETIONS,
    evictions.EVICTIONS,
    kubelets.KUBELETS,
    instances.INSTANCES,
    replicas.REPLICAS,
    tenants.TENANTS,
    moves.MOVES,
    fullness.FULL,
    convergence.CONVERGED,
)


def check(recording: Recording | Iterable[Record], judges: Iterable[Judge] = JUDGES) -> list[Violation]:
    """What was promised and is not so in this recording; empty: nothing."""
    recording = recording if isinstance(recording, Recording) else Recording(recording)
    return [violation for judge in judges for violation in judge(recording)]
