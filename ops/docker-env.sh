#!/bin/sh
# Writes ops/docker.env, the secrets and addresses that docker-compose.yml hands to the containers. Keeps one that exists:
# the database was made with its password.
set -eu
cd "$(dirname "$0")"

file=docker.env
if [ -e "$file" ]; then
    printf 'ops/%s is there already and stays as it is.\n' "$file"
    exit 0
fi
secret() {
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}
umask 077
password=$(secret)
cat >"$file.new" <<END
SECRET_KEY=$(secret)
POSTGRES_PASSWORD=$password
DATABASE_URL=postgres://enso:$password@postgres:5432/enso
REDIS_URL=redis://redis:6379/0
ENSO_METRICS_TOKEN=$(secret)
ALLOWED_HOSTS=localhost,127.0.0.1,web
END
mv "$file.new" "$file"
printf 'ops/%s is written, readable by you only.\n' "$file"
