"""Moving a service from an unhealthy cluster to another one, with its Elastic IP and its load balancer."""

from airflow_eip_provider.operators.failover.operator import EmrFailoverOperator

__all__ = ["EmrFailoverOperator"]
