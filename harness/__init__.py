"""
What the demo, the benchmarks and the tests share, and imports none of them.

- ``judge``: the rules on the local EMR's event log, ``calls``: who made its calls;
- ``life``, ``leases``, ``polling``, ``service_models``: tasks in simulated time, without Airflow's processes;
- ``airflow``, ``processes``, ``console``: a real Airflow and other child processes, and what is printed.
"""
