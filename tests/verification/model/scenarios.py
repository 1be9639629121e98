"""The scenarios: the number of owners, their DAG runs, the faults, and the world at the beginning."""

from __future__ import annotations

from dataclasses import replace

from airflow_eip_provider.lease.observation import ESTIMATED
from airflow_eip_provider.lease.record import Attempt, Entry, Lease, Phase, PossibleOrphan, Record
from tests.verification.model.moves import Scenario
from tests.verification.model.world import HANDOVER_TICKS, LIMITS, Cluster, Elsewhere, World

JOB = ("create", "steps", "terminate")
EARLY = ("create", "steps+release", "terminate")
BESIDE = ("create", "steps+terminate")
SHORT = ("create", "terminate")

USUAL = World()
# A store that breaks its contract: EC2 alone must still exclude a second owner (I3).
LYING = World(store_keeps_its_word=False)
# Instances that run for a while after their clusters have ended, with the address.
LINGERING = World(lingers=True)
# DescribeCluster may not know a new cluster yet.
UNKNOWN = World(unknown_at_first=True)
# The same behind a permanent NAT gateway, where a lease may be handed over as soon as its cluster is launched.
GATEWAY = World(unknown_at_first=True, has_gateway=True)

# The remains of an owner of another Airflow environment, none of whose tasks will run again.
_OTHER = Attempt("Z", "Z", 1, "Z1")
_ITS_CLUSTER = Cluster("j-1", 1, "Z")
_ITS_LEASE = Lease(1, _OTHER, Phase.ACTIVE, 0.0, 0.0, 0.0, "cluster", "j-1")
_ITS_ENTRY = Entry(1, _OTHER, 0.0, "cluster", HANDOVER_TICKS, prewarmed_at=0.0)
OTHERS_LEASE = World(
    record=Record(issued=1, lease=_ITS_LEASE, grace=1),
    version=1,
    at="j-1",
    association=1,
    clusters=(replace(_ITS_CLUSTER, handed_over=True),),
)
_ITS_ATTEMPT = replace(_ITS_LEASE, phase=Phase.ACQUIRED, handover_by=float(HANDOVER_TICKS), resource_id=None)
# Its cluster does not work, although its step has not ended: failovers move its lease to clusters of their own.
SERVICE = replace(OTHERS_LEASE, service="j-1", clusters=(replace(_ITS_CLUSTER, handed_over=True, step="running"),))
# It was not handed over in time, but a step that the user submitted runs.
LATE_LEASE = replace(
    OTHERS_LEASE,
    now=HANDOVER_TICKS,
    record=Record(issued=1, lease=_ITS_ATTEMPT, grace=1),
    clusters=(replace(_ITS_CLUSTER, step="early"),),
)
# It was not handed over, and its cluster has ended, but not its instance.
LINGERING_LEASE = replace(LATE_LEASE, clusters=(_ITS_CLUSTER.ended(),), lingers=True)
DEAD_LEASE = replace(OTHERS_LEASE, at=None, clusters=(_ITS_CLUSTER.ended(),))
DEAD_ENTRY = World(record=Record(issued=1, queue=(_ITS_ENTRY,), grace=1), version=1, clusters=(_ITS_CLUSTER,))
# The same entry, after it was passed over as often as it may be.
OUT_OF_TURNS = replace(DEAD_ENTRY, record=Record(issued=1, queue=(replace(_ITS_ENTRY, passed=LIMITS.turns),), grace=1))
# The task of this entry never resumes, and started nothing early. The owners behind it may pass each other over.
QUEUED_BEHIND = World(record=Record(issued=1, queue=(replace(_ITS_ENTRY, prewarmed_at=None),), grace=1), version=1)
LAST_TURN = replace(
    QUEUED_BEHIND,
    record=Record(issued=1, queue=(replace(_ITS_ENTRY, prewarmed_at=None, passed=LIMITS.turns),), grace=1),
)
POSSIBLE_ORPHAN = World(
    record=Record(issued=1, grace=1, possible_orphans=(PossibleOrphan(1, "Z", "cluster", keep=None, until=0.0),)),
    version=1,
    clusters=(_ITS_CLUSTER,),
)
BOUND_ORPHAN = replace(POSSIBLE_ORPHAN, at="j-1", association=1)

# Two addresses, x and y.
TWO = World(address="x", rest=(Elsewhere("y"),))
_A1, _B1 = Attempt("A", "A", 1, "A1"), Attempt("B", "B", 1, "B1")
_ENTRY_OF_A = Entry(2, _A1, 0.0, "cluster", HANDOVER_TICKS, prewarmed_at=0.0, resource_id="j-1", passed=LIMITS.turns)
_ENTRY_OF_B = Entry(3, _B1, 0.0, "cluster", HANDOVER_TICKS)
# A has started its cluster early for x, whose last cluster is ending, and has had all its turns there; y is free.
BROUGHT = replace(
    TWO,
    now=4,
    record=Record(issued=3, grace=1, queue=(_ENTRY_OF_A, _ENTRY_OF_B)),
    version=1,
    at="j-2",
    association=1,
    clusters=(Cluster("j-1", 2, "A", address="x", by=1), Cluster("j-2", 1, "Z", address="x", state="ending")),
)

_ELSEWHERE = Attempt("Y", "Y", 1, "Y1")
# Other owners have both addresses.
BOTH_HELD = replace(
    OTHERS_LEASE,
    address="x",
    clusters=(
        replace(_ITS_CLUSTER, handed_over=True, address="x"),
        Cluster("j-2", 1, "Y", address="y", handed_over=True),
    ),
    rest=(
        Elsewhere(
            "y",
            record=Record(issued=1, lease=replace(_ITS_LEASE, attempt=_ELSEWHERE, resource_id="j-2"), grace=1),
            version=1,
            at="j-2",
            association=1,
        ),
    ),
)

_DESCRIPTIONS = {
    JOB: "",
    EARLY: "early release",
    BESIDE: "teardown beside steps",
    USUAL: "",
    LYING: "a store that breaks its contract",
    LINGERING: "instances outlive clusters",
    UNKNOWN: "unknown at first",
    GATEWAY: "unknown at first, permanent gateway",
    TWO: "",
    BOTH_HELD: "both held by others",
    BROUGHT: "one started early and has had its turns",
    DEAD_ENTRY: "an entry without a task",
    OUT_OF_TURNS: "an entry without a task, last turn",
    QUEUED_BEHIND: "a waiter that never resumes",
    LAST_TURN: "a waiter that never resumes, last turn",
    OTHERS_LEASE: "another has the address",
    SERVICE: "failover",
    LATE_LEASE: "another's overdue lease",
    LINGERING_LEASE: "another's lease, instance outlives cluster",
    DEAD_LEASE: "another's finished lease",
    POSSIBLE_ORPHAN: "an orphan",
    BOUND_ORPHAN: "an orphan has the address",
}


def scenario(
    owners: int,
    faults: str = "",
    *,
    retries: int = 1,
    prewarm: int = 0,
    first: tuple[str, ...] = JOB,
    start: World = USUAL,
    fallbacks: bool = False,
    pools: tuple[str, ...] = (),
) -> Scenario:
    """
    Describe a scenario.

    :param faults: e.g. "crash 1, lost 2".
    :param first: the tasks of the first owner.
    :param pools: for each owner its addresses, e.g. "x y"; such owners submit no steps.
    """
    plans = [SHORT if pools else JOB if number else first for number in range(owners)]
    kinds = [fault.split() for fault in faults.split(",") if fault.strip()]
    extras = (
        ("prewarm estimated" if prewarm == ESTIMATED else f"prewarm {prewarm}") * bool(prewarm),
        _DESCRIPTIONS[first],
        " and ".join(pools),
        f"retries {retries}" * (retries > 1),
        "fallbacks" * fallbacks,
        _DESCRIPTIONS[start],
    )
    parts = [faults or "nothing fails", *(extra for extra in extras if extra)]
    return Scenario(
        name=f"{owners} owner{'s' * (owners > 1)}: {', '.join(parts)}",
        owners=tuple(zip("ABC", plans, strict=False)),
        faults=tuple((kind, int(times)) for kind, times in kinds),
        retries=retries,
        prewarm=prewarm,
        start=start,
        fallbacks=fallbacks,
        moves_from=start.service,
        pools=tuple(tuple(pool.split()) for pool in pools),
    )


# Explored completely.
COMPLETE = (
    scenario(2, "clear 1"),
    scenario(1, "crash 2, lost 1, slow 2", retries=2),
    scenario(1, "kill 1, clear 1, slow 1"),
    scenario(2),
    scenario(2, "slow 2"),
    scenario(2, "crash 1"),
    scenario(2, "lost 1"),
    scenario(2, "kill 1"),
    scenario(2, "die 1", start=LINGERING),
    scenario(2, "crash 1", prewarm=1),
    scenario(2, "crash 1", prewarm=ESTIMATED),
    scenario(2, "early 1, crash 1"),
    scenario(2, "slow 1", first=EARLY),
    scenario(2, "slow 1", first=BESIDE),
    scenario(2, start=LYING),
    scenario(1, "crash 1, slow 2", start=OTHERS_LEASE),
    scenario(1, "crash 1, slow 2", start=DEAD_LEASE),
    scenario(1, "crash 1, slow 2", start=LATE_LEASE),
    scenario(1, "crash 1, slow 2", start=LINGERING_LEASE),
    scenario(1, "crash 1, slow 2", prewarm=1, start=DEAD_ENTRY),
    scenario(1, "crash 1, slow 2", prewarm=1, start=OUT_OF_TURNS),
    scenario(2, "slow 1", start=QUEUED_BEHIND),
    scenario(2, "slow 1", start=LAST_TURN),
    scenario(1, "crash 1, slow 2", start=POSSIBLE_ORPHAN),
    scenario(1, "crash 1, slow 2", start=BOUND_ORPHAN),
    scenario(1, "fail 2, crash 1", fallbacks=True),
    scenario(1, "fail 1, clear 1, slow 1", fallbacks=True),
    scenario(1, "fail 1, kill 1, lost 1", fallbacks=True),
    scenario(2, "fail 1", fallbacks=True),
    scenario(1, "fail 1, die 1", start=LINGERING, fallbacks=True),
    scenario(1, "crash 1, slow 1", start=SERVICE),
    scenario(1, "kill 1, clear 1", start=SERVICE),
    scenario(1, "kill 1, crash 1, slow 1", start=SERVICE),
    scenario(1, "kill 1, lost 1", start=SERVICE),
    scenario(2, "kill 1", start=SERVICE),
    scenario(1, "crash 1, lost 1", start=SERVICE),
    scenario(2, start=SERVICE),
    scenario(2, "slow 1", start=SERVICE),
    scenario(1, "kill 1, clear 1, slow 1", first=EARLY, start=SERVICE),
    scenario(2, prewarm=1, start=UNKNOWN),
    scenario(1, "crash 1, lost 1, slow 1", start=UNKNOWN),
    scenario(1, "fail 1, crash 1", fallbacks=True, start=UNKNOWN),
    scenario(2, start=GATEWAY),
    scenario(2, "crash 1", start=GATEWAY),
    scenario(1, "crash 1, clear 1", retries=2, start=GATEWAY),
    scenario(1, "kill 1, clear 1, slow 1", start=GATEWAY),
    scenario(2, pools=("x y", "x y"), start=TWO),
    scenario(2, pools=("x y", "x"), start=TWO),
    scenario(1, "crash 1, slow 2", retries=2, pools=("x y",), start=TWO),
    scenario(1, "crash 1, clear 1", retries=2, pools=("x y",), start=TWO),
    scenario(1, "clear 1, slow 1", pools=("x y",), start=TWO),
    scenario(1, "crash 1, clear 1", prewarm=1, pools=("x y",), start=BROUGHT),
    scenario(1, "lost 1, clear 1", prewarm=1, pools=("x y",), start=BROUGHT),
    scenario(1, "crash 1", retries=2, prewarm=1, pools=("x y",), start=BOTH_HELD),
    scenario(2, prewarm=1, pools=("x y", "x"), start=BROUGHT),
)

# Explored completely to a depth.
DEEP = (
    scenario(2, "crash 1", pools=("x y", "x"), start=TWO),
    scenario(2, "kill 1", pools=("x y", "x"), start=TWO),
    scenario(2, "lost 1", pools=("x y", "x y"), start=TWO),
    scenario(3, pools=("x y", "x y", "y"), start=TWO),
    scenario(3, "crash 1", prewarm=2, pools=("x y", "x", "y"), start=TWO),
    scenario(1, "kill 1, clear 1", prewarm=1, pools=("x y",), start=BROUGHT),
    scenario(2, "crash 1", prewarm=1, pools=("x y", "x"), start=BROUGHT),
    scenario(1, "crash 1, clear 1, lost 1", retries=2),
    scenario(2, "crash 2", retries=2),
    scenario(2, "crash 1, slow 1"),
    scenario(2, "crash 1, lost 1"),
    scenario(2, "die 1, crash 1"),
    scenario(2, "die 1, slow 2", start=LINGERING),
    scenario(2, "kill 1, clear 1"),
    scenario(2, "lost 1", prewarm=1),
    scenario(2, "kill 1", prewarm=2),
    scenario(2, "crash 1", first=EARLY),
    scenario(3),
    scenario(3, "crash 1"),
    scenario(3, "lost 1"),
    scenario(3, "kill 1"),
    scenario(3, "clear 1"),
    scenario(3, "crash 1", prewarm=2),
    scenario(3, prewarm=ESTIMATED),
    scenario(3, "crash 1", first=EARLY),
    scenario(2, "slow 1", start=LYING),
    scenario(2, "crash 1", start=LYING),
    scenario(3, "slow 3", start=QUEUED_BEHIND),
    scenario(2, "crash 1, slow 1", first=EARLY),
    scenario(2, "fail 1, crash 1", fallbacks=True),
    scenario(2, "fail 1, crash 1", prewarm=1, fallbacks=True),
    scenario(1, "fail 2, crash 1, clear 1, lost 1", retries=2, fallbacks=True),
    scenario(2, "crash 1", start=SERVICE),
    scenario(2, "crash 1", prewarm=1, start=UNKNOWN),
)

# Too large to explore; random interleavings are followed to the end.
WALKED = (
    scenario(3, "crash 2, lost 2, slow 3, kill 1, clear 1, die 1", retries=2),
    scenario(3, "crash 2, lost 2, slow 3, clear 1", retries=2, prewarm=1),
    scenario(3, "crash 2, lost 2, slow 3, kill 1, die 1", retries=2, prewarm=2),
    scenario(3, "crash 2, lost 1, slow 3, kill 1, clear 1", retries=2, first=EARLY),
    scenario(3, "crash 1, slow 4, early 1, die 1", retries=2, start=LINGERING),
    scenario(3, "fail 3, crash 1, lost 1, slow 3, kill 1, clear 1", retries=2, prewarm=1, fallbacks=True),
)
