"""``run-example``: PySpark has Spark's examples in Python only, so a class is run as the script of the same name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_FLAGS = frozenset({"--verbose", "-v", "--supervise"})


def example_arguments(arguments: Sequence[str], *, directory: Path) -> list[str]:
    """
    Return the arguments of ``spark-submit`` that run an example.

    :param directory: directory of the examples.
    :raises LookupError: when the example does not exist.
    """
    options: list[str] = []
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        options.append(option)
        if option not in _FLAGS and "=" not in option and rest:
            options.append(rest.pop(0))
    if not rest:
        raise LookupError("it needs an example's name, e.g. SparkPi")
    found = {re.sub(r"[^a-z]", "", path.stem): path for path in sorted(directory.rglob("*.py"))}
    # "org.apache.spark.examples.SparkPi" and "JavaSparkPi" are "pi".
    name = re.sub(r"^(Java)?(Spark)?", "", rest[0].rpartition(".")[2]).lower()
    script = found.get(re.sub(r"[^a-z]", "", name))
    if script is None:
        known = ", ".join(sorted(path.stem for path in directory.glob("*.py")))
        raise LookupError(f"there is no example '{rest[0]}' in Python, which is what PySpark has; it has {known}")
    return [*options, str(script), *rest[1:]]
