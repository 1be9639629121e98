"""
The imports of the operators' functions, made when a task starts to run and not when a DAG file is parsed.

If a module cannot be imported, the task fails before it has changed AWS. And ``on_kill``, which cleans up in another
thread, does not wait for an import of the code that it interrupted.
"""
# ruff: noqa: F401 - imported for the side effect

from __future__ import annotations

import airflow_eip_provider.aws.step_logs
import airflow_eip_provider.hooks.aws
import airflow_eip_provider.lease.description
import airflow_eip_provider.operators.adoption
import airflow_eip_provider.operators.batch_mark
import airflow_eip_provider.operators.binder
import airflow_eip_provider.operators.bindings.unaddressed
import airflow_eip_provider.operators.emr.fence
import airflow_eip_provider.operators.emr.submitted
import airflow_eip_provider.operators.emr.unstarted
import airflow_eip_provider.operators.failover.standby
import airflow_eip_provider.operators.launch
import airflow_eip_provider.preflight
import airflow_eip_provider.triggers.elbv2
import airflow_eip_provider.triggers.health
import airflow_eip_provider.triggers.livy
import airflow_eip_provider.triggers.lock
import airflow_eip_provider.triggers.nat
import airflow_eip_provider.triggers.observed
import airflow_eip_provider.triggers.pool
import airflow_eip_provider.triggers.undo
