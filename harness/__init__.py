"""
Code that the demo, the benchmarks and the tests share; it imports none of them.

- ``judge``: the checks on the local EMR's event log; ``calls``: who made the calls in it;
- ``life``, ``leases``, ``polling``, ``service_models``: tasks in simulated time, without Airflow's processes;
- ``airflow``, ``processes``, ``console``: a real Airflow, other child processes, and printed output.
"""
