"""Which stories are told: how many owners, what their DAG runs do, and what fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.explore import Scenario
from tests.model.world import World

if TYPE_CHECKING:
    from tests.model.world import World as _World

JOB = ("create", "steps", "terminate")
EARLY = ("create", "steps+release", "terminate")


def scenario(
    owners: int,
    faults: str = "",
    *,
    retries: int = 1,
    prewarm: int = 0,
    early_release: bool = False,
    start: _World | None = None,
) -> Scenario:
    """
    Describe a scenario.

    :param faults: e.g. "crash 1, lost 2".
    :param early_release: the first owner releases the address beside its steps.
    """
    plans = [EARLY if early_release and number == 0 else JOB for number in range(owners)]
    kinds = [fault.split() for fault in faults.split(",") if fault.strip()]
    extras = [
        f"prewarm {prewarm}" * bool(prewarm),
        "early release" * early_release,
        f"retries {retries}" * (retries > 1),
    ]
    said = [faults or "nothing fails", *(extra for extra in extras if extra)]
    return Scenario(
        name=f"{owners} owner{'s' * (owners > 1)}: {', '.join(said)}",
        owners=tuple(zip("ABC", plans, strict=False)),
        faults=tuple((kind, int(times)) for kind, times in kinds),
        retries=retries,
        prewarm=prewarm,
        start=start or World(),
    )


# Explored to their ends.
COMPLETE = (
    scenario(1, "crash 2, lost 1, slow 2", retries=2),
    scenario(1, "kill 1, clear 1, slow 1"),
    scenario(2),
    scenario(2, "slow 2"),
    scenario(2, "crash 1"),
    scenario(2, "slow 1", early_release=True),
)

# Explored every way, to a depth.
DEEP = (
    scenario(1, "crash 1, clear 1, lost 1", retries=2),
    scenario(2, "lost 1"),
    scenario(2, "kill 1"),
    scenario(2, "die 1, crash 1"),
    scenario(2, "crash 1", prewarm=1),
    scenario(2, "crash 1", early_release=True),
    scenario(2, "clear 1"),
    scenario(2, "slow 2, crash 1"),
    scenario(2, "crash 2", retries=2),
    scenario(2, "lost 1", prewarm=1),
    scenario(2, "kill 1, clear 1"),
    scenario(3),
    scenario(3, "crash 1"),
    scenario(3, "lost 1"),
    scenario(3, "kill 1"),
    scenario(3, "clear 1"),
    scenario(3, "crash 1", prewarm=2),
)

# Too large for every way; a way at a time, at random, to its end.
WALKED = (
    scenario(3, "crash 2, lost 2, slow 3, kill 1, clear 1, die 1", retries=2),
    scenario(3, "crash 2, lost 2, slow 3, clear 1", retries=2, prewarm=1),
    scenario(3, "crash 2, lost 2, slow 3, kill 1, die 1", retries=2, prewarm=2),
    scenario(3, "crash 2, lost 1, slow 3, kill 1, clear 1", retries=2, early_release=True),
)

# A store that breaks its promise: what EC2 alone decides must hold all the same (I3).
WITHOUT_STORE = (
    scenario(2, "slow 1", start=World(store_keeps_its_word=False)),
    scenario(2, "crash 1", start=World(store_keeps_its_word=False)),
)
