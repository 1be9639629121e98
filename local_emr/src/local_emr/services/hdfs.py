"""The part of HDFS's NameNode that health checks use: three beans of ``/jmx``.

(Docs: Apache Hadoop, ``org.apache.hadoop.jmx.JMXJsonServlet`` and "Metrics", and HDFS-2933 for ``/jmx``'s beans.)
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_emr.emr.cluster import Cluster

PORT = 9870
_SAFE_MODE = (
    "Safe mode is ON. Resources are low on NN. Please add or free up more resources then turn off safe mode manually. "
    "NOTE:  If you turn off safe mode before adding resources, the NN will immediately return to safe mode."
)


def answer(path: str, query: str | None, cluster: Cluster, *, safe_mode: bool) -> dict[str, Any] | None:
    """
    Return the response of a path; ``None`` if it does not exist.

    :param query: ``qry``, the name of a bean; ``*`` is a wildcard.
    """
    if path != "/jmx":
        return None
    return {"beans": [bean for bean in _beans(cluster, safe_mode=safe_mode) if fnmatchcase(bean["name"], query or "*")]}


def _beans(cluster: Cluster, *, safe_mode: bool) -> list[dict[str, Any]]:
    nodes = len(cluster.workers)
    return [
        {
            "name": "Hadoop:service=NameNode,name=NameNodeStatus",
            "modelerType": "org.apache.hadoop.hdfs.server.namenode.NameNode",
            "NNRole": "NameNode",
            "State": "active",
            "SecurityEnabled": False,
        },
        {
            "name": "Hadoop:service=NameNode,name=NameNodeInfo",
            "modelerType": "org.apache.hadoop.hdfs.server.namenode.FSNamesystem",
            "Safemode": _SAFE_MODE if safe_mode else "",
            "NumberOfMissingBlocks": 0,
            "SoftwareVersion": "3.4.0",
        },
        {
            "name": "Hadoop:service=NameNode,name=FSNamesystemState",
            "modelerType": "org.apache.hadoop.hdfs.server.namenode.FSNamesystem",
            "FSState": "safeMode" if safe_mode else "Operational",
            "NumLiveDataNodes": nodes,
            "NumDeadDataNodes": 0,
        },
    ]
