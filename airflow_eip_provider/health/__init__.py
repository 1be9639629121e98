"""
Whether the primary node of a cluster serves: what is checked, and when several checks make a verdict.

No Airflow here, and no AWS client: facts come in, a judgement goes out. ``http`` is the one module with I/O.
"""
