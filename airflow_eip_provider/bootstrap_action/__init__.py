"""The bootstrap action for clusters that Airflow does not launch: a shell script and the programs in it."""
