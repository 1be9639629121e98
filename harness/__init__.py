"""What the demo, the benchmarks and the tests share; it imports none of them, and no Airflow."""
