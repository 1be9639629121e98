"""
What the functions of operators import, imported at once when a task begins to run, and never when a DAG file is parsed.

A module that cannot be imported then fails the task before it has changed AWS. And what a kill undoes, in a thread
beside the code that it has interrupted, waits for no import of that code.
"""
# ruff: noqa: F401 - to be imported is all that they are for

from __future__ import annotations

import airflow_eip_provider.aws.step_logs
import airflow_eip_provider.hooks.aws
import airflow_eip_provider.lease.description
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
