"""The bootstrap action of clusters that Airflow does not launch: a shell script and the programs that it carries."""
