#!/usr/bin/env bash
# Builds the two base images from Debian packages, for a machine that reaches no image registry. It needs root, debootstrap
# and a running Docker engine; DEBIAN_MIRROR names another mirror than debootstrap's own. Certificate authorities that this
# machine trusts beyond Debian's are trusted in the images too, for networks that need them.
#
#   sudo docker/build-base-images.sh > .env && docker compose up
#
# Debian 12 brings Python 3.11 and PostgreSQL 15, where the official images that docker-compose.yaml names have 3.12 and 17.
set -euo pipefail

suite=bookworm
python_image=airflow-eip-base/python:3.11-$suite
postgres_image=airflow-eip-base/postgres:15-$suite

work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT

# debootstrap would say of a full disk that files exist already.
needed=3
free=$(($(df --output=avail --block-size=1M "$work" | tail --lines=1) / 1024))
if ((free < needed)); then
    echo "building in $work needs $needed GiB and $free are free there: make room, or set TMPDIR to another place" >&2
    exit 1
fi

# import NAME IMAGE PACKAGES [docker import's options]: a minimal Debian with packages, and the files of $work/NAME-files.
import() {
    local root=$work/$1 files=$work/$1-files image=$2 packages=$3
    shift 3
    echo "building $image ..." >&2
    debootstrap --variant=minbase --include="$packages" "$suite" "$root" ${DEBIAN_MIRROR:-} >"$root.log" 2>&1 ||
        { tail --lines=20 "$root.log" >&2; exit 1; }
    cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
    chroot "$root" update-ca-certificates >&2
    cp --archive "$files/." "$root/"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
    tar --create --directory "$root" --exclude=./dev --exclude=./proc --exclude=./sys . | docker import "$@" - "$image" >&2
    rm -rf "$root"
}

# The official image has its Python as /usr/local/bin/python.
mkdir -p "$work/python-files/usr/local/bin"
ln -s /usr/bin/python3 "$work/python-files/usr/local/bin/python"
import python "$python_image" ca-certificates,python3,python3-venv

# As much of the official image's entrypoint as docker-compose.yaml uses.
mkdir -p "$work/postgres-files/usr/local/bin"
cat >"$work/postgres-files/usr/local/bin/docker-entrypoint.sh" <<'SCRIPT'
#!/usr/bin/env bash
set -euo pipefail
export PATH=$PATH:/usr/lib/postgresql/15/bin
mkdir -p "$PGDATA" /run/postgresql
chown postgres: "$PGDATA" /run/postgresql
chmod 700 "$PGDATA"
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    as_postgres initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" \
        --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    as_postgres pg_ctl start --wait --options="-c listen_addresses=''"
    as_postgres createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
    as_postgres pg_ctl stop --wait
fi
exec setpriv --reuid=postgres --regid=postgres --init-groups "$@" -c listen_addresses='*'
SCRIPT
chmod 755 "$work/postgres-files/usr/local/bin/docker-entrypoint.sh"
import postgres "$postgres_image" ca-certificates,postgresql-15 \
    --change 'ENV PGDATA=/var/lib/postgresql/data PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/15/bin' \
    --change 'VOLUME /var/lib/postgresql/data' \
    --change 'ENTRYPOINT ["docker-entrypoint.sh"]' \
    --change 'CMD ["postgres"]'

echo "BASE_IMAGE=$python_image"
echo "POSTGRES_IMAGE=$postgres_image"
