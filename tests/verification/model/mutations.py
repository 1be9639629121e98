"""Mutations: each removes one guard from the protocol, and the model must find a violation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from unittest import mock

from airflow_eip_provider.lease import observation, pool, protocol, transitions
from airflow_eip_provider.lease.observation import LeaseCondition
from airflow_eip_provider.lease.record import Attempt, Lease, Phase, Record
from tests.verification.model import answers, patches, processes
from tests.verification.model.explore import Explorer, Report
from tests.verification.model.moves import Moves
from tests.verification.model.patches import judged, law, swap, together
from tests.verification.model.scenarios import (
    BESIDE,
    BOTH_HELD,
    BOUND_ORPHAN,
    BROUGHT,
    DEAD_ENTRY,
    DEAD_LEASE,
    EARLY,
    GATEWAY,
    LATE_LEASE,
    LINGERING,
    LYING,
    OTHERS_LEASE,
    OUT_OF_TURNS,
    POSSIBLE_ORPHAN,
    SERVICE,
    TWO,
    UNKNOWN,
    scenario,
)
from tests.verification.model.world import LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.verification.model.moves import Scenario

_MOST_STATES = 1_200_000


@dataclass(frozen=True, slots=True)
class Mutation:
    """
    :param removed: what the protocol does without the guard.
    :param serves: the invariant or rule that the guard serves.
    """

    removed: str
    serves: str
    scenario: Scenario
    patch: Callable[[], AbstractContextManager[Any]]

    def caught(self) -> Report:
        """Explore the mutated protocol until something breaks."""
        with self.patch():
            return Explorer(self.scenario).explore(most_states=_MOST_STATES)


def _is_overdue(lease: Any, now: float) -> bool:
    return lease.phase is Phase.ACTIVE and now >= lease.handover_by


POOL_RETRIED = scenario(1, "crash 1, clear 1, slow 1", retries=2, pools=("x y",), start=TWO)
POOL_BROUGHT = scenario(2, "slow 1", prewarm=1, pools=("x y", "x"), start=BROUGHT)
POOL_KILLED = scenario(1, "kill 1, clear 1", prewarm=1, pools=("x y",), start=BROUGHT)
POOL_PREWARMED = scenario(1, prewarm=1, pools=("x y",), start=BOTH_HELD)

MUTATIONS = (
    # The store and EC2.
    Mutation(
        "the store ignores the expected version",
        "I1, the store's contract",
        scenario(2),
        swap(answers, "_write", patches.unconditional),
    ),
    Mutation(
        "EC2 re-associates (AllowReassociation=True)",
        "I2, I3",
        scenario(2, "slow 1", start=LYING),
        swap(answers, "_associate", patches.reassociated),
    ),
    Mutation(
        "an association of another owner is undone",
        "I2",
        scenario(2, "crash 1"),
        swap(protocol, "_disassociate", patches.disassociate_any),
    ),
    # Acquiring, and the queue.
    Mutation("tokens are used again", "I4", scenario(2), law(transitions.Acquire, patches.token_again)),
    Mutation(
        "an owner in the queue does not wait for its turn",
        "order",
        scenario(1, prewarm=1, start=DEAD_ENTRY),
        lambda: together(
            law(transitions.Acquire, patches.acquired_at_once), swap(observation, "turn_at", patches.no_grace)
        ),
    ),
    Mutation(
        "a queue entry without a task blocks the entries behind it",
        "no owner waits for ever",
        scenario(1, prewarm=1, start=DEAD_ENTRY),
        swap(observation, "turn_at", patches.turn_of_first_only),
    ),
    Mutation(
        "an owner that is passed over loses its place",
        "fairness",
        scenario(1, prewarm=1, start=DEAD_ENTRY),
        law(transitions.Acquire, patches.passed_over(gone=True)),
    ),
    Mutation(
        "an owner that is passed over loses the cluster that it started early",
        "fairness",
        scenario(1, prewarm=1, start=DEAD_ENTRY),
        law(transitions.Acquire, patches.passed_over(prewarmed_at=None)),
    ),
    Mutation(
        "passes are not counted",
        "fairness",
        scenario(1, prewarm=1, start=DEAD_ENTRY),
        law(transitions.Acquire, patches.passed_over(passed=0)),
    ),
    Mutation(
        "an entry keeps its place for ever",
        "fairness, no owner waits for ever",
        scenario(1, prewarm=1, start=OUT_OF_TURNS),
        law(transitions.Acquire, patches.passed_over()),
    ),
    Mutation(
        "the window of an entry that was passed over does not grow",
        "fairness",
        scenario(1, prewarm=1, start=OUT_OF_TURNS),
        swap(Record, "window", lambda record, entry: record.grace),
    ),
    # Handing over.
    Mutation(
        "the hand-over ignores token and attempt",
        "I4",
        scenario(1, "clear 1"),
        law(transitions.Activate, patches.of_any_lease),
    ),
    Mutation(
        "create returns without its last write",
        "I4",
        scenario(1),
        swap(protocol, "hand_over", patches.never_handed_over),
    ),
    Mutation(
        "a lost answer counts as a success",
        "rule 7",
        scenario(2, "lost 1"),
        swap(protocol, "change", patches.written_in_any_case),
    ),
    Mutation(
        "a lost answer of a hand-over counts as a success",
        "rule 7",
        scenario(2, "lost 1"),
        swap(protocol, "apply", patches.applied_if_unanswered),
    ),
    Mutation(
        "a lost answer counts as a failure",
        "rule 7",
        scenario(1, "lost 1"),
        swap(protocol, "hand_over", patches.handed_over_or_lost(False)),
    ),
    Mutation(
        "a lost answer is resolved by who wrote last",
        "rule 7",
        scenario(2, "lost 1"),
        swap(protocol, "hand_over", patches.handed_over_or_lost(True)),
    ),
    # Tries of one owner.
    Mutation(
        "an older try re-enters",
        "rule 1",
        scenario(1, "clear 1"),
        lambda: together(
            swap(Attempt, "may_follow", lambda *_: True),
            swap(protocol, "decide", patches.never_stops),
        ),
    ),
    Mutation(
        "undo terminates before it writes RELEASING",
        "rules 1, 2",
        scenario(1, "kill 1, clear 1"),
        swap(protocol, "undo", patches.undone_at_once),
    ),
    Mutation(
        "undo ignores a newer try",
        "rules 1, 2",
        scenario(1, "kill 1, clear 1"),
        swap(protocol, "undo", patches.undone_by_anyone),
    ),
    Mutation(
        "a retry does not look for what earlier tries launched",
        "I6, rule 8",
        scenario(1, "crash 1"),
        swap(protocol, "_adopt", patches.launched_anew),
    ),
    Mutation(
        "a retry keeps its cluster though the address is on another of its own",
        "rule 8",
        scenario(1, "clear 1"),
        swap(protocol, "relocate", patches.not_relocated),
    ),
    Mutation(
        "another cluster is launched beside one that EMR does not know yet",
        "I6, rule 8",
        scenario(2, prewarm=1, start=UNKNOWN),
        swap(protocol, "may_be_new", lambda *_: False),
    ),
    Mutation(
        "another cluster is launched beside one that has the address and that EMR does not know yet",
        "I6, rule 8",
        scenario(1, "crash 1", start=UNKNOWN),
        swap(protocol, "relocate", patches.relocated_if_known),
    ),
    Mutation(
        "a search omits a cluster that was started early",
        "I6, rule 8",
        scenario(1, "crash 1, slow 1", prewarm=1, start=OTHERS_LEASE),
        swap(observation, "_since", patches.since_acquired),
    ),
    # A cluster that does not start, and the next one.
    Mutation(
        "the next cluster is launched before the one that failed has ended",
        "one cluster",
        scenario(1, "fail 1", fallbacks=True),
        swap(protocol, "replace_cluster", patches.replaced_without("end")),
    ),
    Mutation(
        "the address stays on the cluster that failed",
        "one cluster",
        scenario(1, "fail 1", start=LINGERING, fallbacks=True),
        swap(protocol, "replace_cluster", patches.replaced_without("address")),
    ),
    Mutation(
        "a cluster that was given up is adopted and handed over",
        "one cluster, rule 2",
        scenario(1, "fail 1, crash 1", fallbacks=True),
        swap(Lease, "is_given_up", lambda *_: False),
    ),
    Mutation(
        "a cluster that failed is terminated before the record gives it up",
        "I6, rule 2",
        scenario(1, "fail 1, clear 1", fallbacks=True),
        swap(protocol, "give_up", patches.given_up_unwritten),
    ),
    Mutation(
        "the record does not say that another cluster follows one that was given up",
        "I6, rule 8",
        scenario(1, "fail 1, kill 1, lost 1", fallbacks=True),
        law(transitions.Replace, patches.successor_not_announced),
    ),
    # Taking over.
    Mutation(
        "a lease is finished when its time is up",
        "I7",
        scenario(1, start=OTHERS_LEASE),
        judged(LeaseCondition.FINISHED, _is_overdue),
    ),
    Mutation(
        "the release of an active lease is started because it is overdue",
        "I6, I7",
        scenario(1, start=OTHERS_LEASE),
        judged(LeaseCondition.OVERDUE, _is_overdue),
    ),
    Mutation(
        "the release of an overdue lease is started while its cluster runs a step",
        "I7",
        scenario(1, start=LATE_LEASE),
        swap(observation, "condition_of", patches.overdue_though_busy),
    ),
    Mutation(
        "a lease is finished while a live instance has the address",
        "I7",
        scenario(2, "die 1", start=LINGERING),
        swap(observation, "condition_of", patches.finished_with_its_cluster),
    ),
    Mutation(
        "a cluster that EMR does not show does not exist",
        "I7, rule 5",
        scenario(2),
        swap(observation, "_may_surface", lambda *_: False),
    ),
    Mutation(
        "a lease whose new cluster EMR does not know yet is finished",
        "I7, rule 5",
        scenario(2, start=GATEWAY),
        swap(observation, "may_be_new", lambda *_: False),
    ),
    Mutation(
        "RunJobFlow is sent at any time after the write",
        "rule 5",
        scenario(2, "slow 3"),
        swap(answers, "LIMITS", replace(LIMITS, send=99)),
    ),
    Mutation(
        "no owner takes over a finished lease",
        "no owner waits for ever",
        scenario(1, start=DEAD_LEASE),
        swap(observation, "_FOR_OTHERS", {}),
    ),
    # Failovers.
    Mutation(
        "a second failover moves the lease off the cluster that the first one moved it to",
        "one failover",
        scenario(2, start=SERVICE),
        lambda: together(
            law(transitions.Move, patches.moved_off_any), swap(Record, "has_moved_from", lambda *_: False)
        ),
    ),
    Mutation(
        "a failover does not wait for the old cluster's steps",
        "I1, I5",
        scenario(1, start=SERVICE),
        swap(Moves, "_is_idle", lambda *_: True),
    ),
    Mutation(
        "a failover frees the address before it moves the lease",
        "I2, rule 3",
        scenario(1, start=SERVICE),
        swap(protocol, "move", patches.freed_first),
    ),
    Mutation(
        "a failover moves the lease back before the address",
        "I5",
        scenario(1, "kill 1", start=SERVICE),
        swap(protocol, "_give_back", patches.given_back_without_address),
    ),
    Mutation(
        "a failover moves back what a newer attempt has",
        "rule 1",
        scenario(1, "kill 1, clear 1", start=SERVICE),
        law(transitions.MoveBack, patches.moved_back_by_anyone),
    ),
    Mutation(
        "a failover takes the address off the old cluster without a check of the lease",
        "I4",
        scenario(1, "kill 1, clear 1", start=SERVICE),
        swap(protocol, "take_off", patches.taken_off_unchecked),
    ),
    Mutation(
        "the old cluster keeps an association that an older attempt may undo",
        "I4",
        scenario(1, "kill 1, clear 1", start=SERVICE),
        swap(protocol, "_end_old_association", patches.do_nothing),
    ),
    Mutation(
        "a failover frees its new cluster before it writes RELEASING",
        "rule 2",
        scenario(1, "kill 1, clear 1", start=SERVICE),
        swap(protocol, "_free_for_old", patches.freed_unwritten),
    ),
    Mutation(
        "a lease that is moved back leaves no possible orphan",
        "I6, rule 6",
        scenario(1, "kill 1, crash 1, slow 1", start=SERVICE),
        law(transitions.MoveBack, patches.changed("_move_back", possible_orphans=())),
    ),
    # Possible orphans.
    Mutation(
        "no owner sweeps", "rule 6", scenario(1, start=POSSIBLE_ORPHAN), swap(protocol, "_sweep", patches.do_nothing)
    ),
    Mutation(
        "a waiting owner does not sweep",
        "rule 6, no owner waits for ever",
        scenario(1, start=BOUND_ORPHAN),
        swap(protocol, "_sweep_and_wait", patches.wait),
    ),
    Mutation(
        "an unclear launch leaves no possible orphan",
        "rule 6",
        scenario(1, "lost 1"),
        law(transitions.Release, patches.changed("_release", possible_orphans=())),
    ),
    Mutation(
        "a queue entry that started early leaves no possible orphan when its owner leaves",
        "rule 6",
        scenario(2, "kill 1", prewarm=1),
        law(transitions.Leave, patches.changed("_leave", possible_orphans=())),
    ),
    Mutation(
        "a queue entry that started early leaves no possible orphan when it is removed",
        "rule 6",
        scenario(1, prewarm=1, start=OUT_OF_TURNS),
        law(transitions.Acquire, patches.removed_without_orphan),
    ),
    # Early starts.
    Mutation(
        "an early start is not announced",
        "rule 9",
        scenario(2, "crash 1", prewarm=1),
        lambda: together(
            swap(protocol, "_prewarm", patches.prewarm_unannounced),
            law(transitions.Prewarmed, patches.named_unannounced),
        ),
    ),
    Mutation(
        "every owner in the queue starts early",
        "rule 9",
        scenario(2, prewarm=1, start=OTHERS_LEASE),
        lambda: together(
            swap(observation, "_may_prewarm", patches.may_always_prewarm),
            law(transitions.Prewarm, patches.prewarm_for_all),
        ),
    ),
    # Steps, and releasing the address.
    Mutation(
        "a step starts whatever the state of the lease is",
        "I5",
        scenario(1, first=EARLY),
        swap(protocol, "guard", patches.let_through),
    ),
    Mutation(
        "the lease is not checked again after a step was submitted",
        "I5, rule 10",
        scenario(1, first=EARLY),
        lambda: mock.patch.dict(processes._AFTER_REQUEST, {("add", "accepted"): "watch"}),
    ),
    Mutation(
        "a step starts without a check of the lease", "I5", scenario(1), swap(protocol, "guard", patches.do_nothing)
    ),
    Mutation(
        "a releasing lease counts as finished",
        "rule 3",
        scenario(2, first=EARLY),
        judged(LeaseCondition.FINISHED, lambda lease, now: lease.phase is Phase.RELEASING),
    ),
    Mutation(
        "early release does not write RELEASING first",
        "rule 3, I5",
        scenario(1, first=EARLY),
        swap(protocol, "start_release", patches.release_not_started),
    ),
    Mutation(
        "early release does not wait for steps",
        "rule 3, I5",
        scenario(1, first=EARLY),
        swap(Moves, "_is_idle", lambda *_: True),
    ),
    Mutation(
        "teardown does not wait for steps",
        "rule 3, I5",
        scenario(1, first=BESIDE),
        swap(Moves, "_is_idle", lambda *_: True),
    ),
    # Pools: any one address of several.
    Mutation(
        "an owner stays in the other queues",
        "pool: an owner leaves the other queues",
        scenario(2, pools=("x y", "x y"), start=TWO),
        swap(pool, "_end_part", lambda *_, **__: True),
    ),
    Mutation(
        "an older attempt continues in parallel with a newer one",
        "pool: one lease for an owner",
        POOL_RETRIED,
        swap(pool, "_end_part", patches.ended_unless(is_superseded=False)),
    ),
    Mutation(
        "an older attempt's lease of another address stays",
        "pool: one lease for an owner",
        POOL_RETRIED,
        swap(pool, "_end_part", patches.ended_unless(leases=False)),
    ),
    Mutation(
        "a superseded attempt keeps what it has",
        "pool: one lease for an owner",
        POOL_RETRIED,
        swap(pool, "_withdraw", lambda *_: protocol.Superseded()),
    ),
    Mutation(
        "the cluster keeps the lease tags of the other address",
        "pool: one cluster for an owner",
        POOL_BROUGHT,
        swap(pool, "_name_and_tag", pool._name_cluster),
    ),
    Mutation(
        "a cluster is started early in every queue",
        "pool: one cluster for an owner",
        POOL_PREWARMED,
        swap(pool, "replace", lambda request, **_: request),
    ),
    Mutation(
        "a kept cluster is not named before an undo",
        "pool: one cluster for an owner",
        POOL_KILLED,
        swap(pool, "name_kept", lambda *_: None),
    ),
)
