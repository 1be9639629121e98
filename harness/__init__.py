"""
Code that the demo, the benchmarks and the tests share; it imports none of them.

- ``judge``: the checks on the local EMR's event log; ``calls``: the callers in it;
- ``life``, ``leases``, ``polling``, ``simulated_clock``: tasks in simulated time, without Airflow's processes;
- ``in_process``, ``service_models``: faster calls of the local EMR;
- ``airflow``, ``processes``, ``preload_plugin``: a real Airflow, and other child processes;
- ``job_flow``, ``console``, ``wait``: requests for EMR, printed output, and waiting.
"""
