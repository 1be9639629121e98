"""
Differences between Amazon EMR releases that matter to this package.

Source: Amazon EMR Management Guide, "Using an auto-termination policy": available in 5.30.0 and later and in 6.1.0 and
later; in 5.30 to 5.33 and 6.1 to 6.3 a cluster counts as active only while a YARN application or a Spark job is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

AutoTermination: TypeAlias = Literal["none", "yarn only", "full"]

# The support for terminating idle clusters, from each release on.
_AUTO_TERMINATION: tuple[tuple[tuple[int, int], AutoTermination], ...] = (
    ((0, 0), "none"),
    ((5, 30), "yarn only"),
    ((5, 34), "full"),
    ((6, 0), "none"),
    ((6, 1), "yarn only"),
    ((6, 4), "full"),
)
_RELEASE = re.compile(r"emr-(\d{1,4})\.(\d{1,4})(\.\d{1,4})?")
# Also "emr-spark-8.0.0", and a suffix for a preview (Amazon EMR Release Guide).
_LABEL = re.compile(r"emr-([a-z]+-)?\d{1,4}\.\d{1,4}\.\d{1,4}(-[0-9A-Za-z.-]+)?")
_AMI_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){1,2}|latest")


def release_problem(job_flow: Mapping[str, Any]) -> str | None:
    """Return why EMR does not accept the form of the release; ``None`` if it may."""
    label, ami_version = job_flow.get("ReleaseLabel"), job_flow.get("AmiVersion")
    if label is not None and not _LABEL.fullmatch(str(label)):
        return f"ReleaseLabel is {label!r}"
    if ami_version is not None and not _AMI_VERSION.fullmatch(str(ami_version)):
        return f"AmiVersion is {ami_version!r}"
    if label is not None and ami_version is not None:
        return "both ReleaseLabel and AmiVersion are given"
    return None


def release_name(job_flow: Mapping[str, Any]) -> str:
    """Return the release in RunJobFlow's parameters, for messages."""
    if label := job_flow.get("ReleaseLabel"):
        return f"release {label}"
    return f"AMI version {job_flow.get('AmiVersion')}"


def auto_termination(job_flow: Mapping[str, Any]) -> AutoTermination:
    """
    Return how far the release of a cluster supports terminating it when it is idle.

    A label of unknown format counts as a new release, so that EMR decides.
    """
    label = job_flow.get("ReleaseLabel")
    if label is None:
        return "none" if job_flow.get("AmiVersion") else "full"
    found = _RELEASE.fullmatch(str(label))
    if found is None:
        return "full"
    release = (int(found[1]), int(found[2]))
    return [support for since, support in _AUTO_TERMINATION if since <= release][-1]
