"""AWS, EMR and Azure SQL on one laptop: for development, docker-compose and tests."""
