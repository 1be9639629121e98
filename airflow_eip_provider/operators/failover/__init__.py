"""Moving a service from a cluster that does not work to another one, with its Elastic IP and its load balancer."""

from airflow_eip_provider.operators.failover.operator import EmrFailoverOperator

__all__ = ["EmrFailoverOperator"]
