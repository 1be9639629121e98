#!/bin/sh
# Makes the secrets of one installation, once, in the volume that its services share; nothing is in an image or a file of
# the project. They are for a development machine: every service may read them.
set -eu
cd "$1"

write() {
    cat >"$1.new"
    chmod 444 "$1.new"
    mv "$1.new" "$1"
}

for name in postgres_password fernet_key jwt_secret api_secret_key mssql_sa_password; do
    [ -s "$name" ] || head --bytes=32 /dev/urandom | base64 | tr '+/' '-_' | tr --delete '\n' | write "$name"
done
printf 'postgresql+psycopg2://airflow:%s@postgres/airflow' "$(cat postgres_password)" | write sql_alchemy_conn
