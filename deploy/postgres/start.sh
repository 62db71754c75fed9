#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Starts PostgreSQL with one role and one schema per service, made before it ever listens.
#
# Roles and passwords come from /etc/berth/roles ("<role> <password>" a line) and are set at each start in
# single-user mode: a release with one more service needs no step by hand, and no window without passwords exists.
set -euo pipefail
umask 077
data=/var/lib/postgresql/data
database=berth

# single <folder> <database>: standard input as SQL, one statement a line. Statements are kept out of the log,
# since they hold passwords; single-user mode does not always fail by its exit code.
single() {
  local said
  if ! said=$(postgres --single -D "$1" -c exit_on_error=true -c log_min_error_statement=panic "$2" 2>&1) ||
    grep -qE '(ERROR|FATAL|PANIC):' <<< "$said"; then
    echo "preparing the database failed: $said" >&2
    return 1
  fi
}

if [ ! -s "$data/PG_VERSION" ]; then
  rm -rf "$data.new"
  # Nobody logs in as postgres but from inside this container: it has no password.
  initdb --pgdata="$data.new" --username=postgres --auth-local=peer --auth-host=scram-sha-256 \
    --encoding=UTF8 --locale=C --data-checksums --no-instructions
  printf '%s\n' "CREATE DATABASE $database" "REVOKE ALL ON DATABASE $database FROM PUBLIC" | single "$data.new" postgres
  mv "$data.new" "$data"
fi

{
  echo "REVOKE ALL ON SCHEMA public FROM PUBLIC"
  while read -r role password; do
    # Roles are tokens and passwords hexadecimal: there is nothing to quote.
    echo "DO \$\$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$role') THEN CREATE ROLE \"$role\" LOGIN; END IF; END \$\$"
    echo "ALTER ROLE \"$role\" PASSWORD '$password'"
    echo "ALTER ROLE \"$role\" SET search_path = \"$role\""
    echo "GRANT CONNECT ON DATABASE $database TO \"$role\""
    echo "CREATE SCHEMA IF NOT EXISTS \"$role\" AUTHORIZATION \"$role\""
  done < /etc/berth/roles
} | single "$data" "$database"

exec postgres -D "$data" -c listen_addresses='*' -c hba_file=/opt/berth/libexec/pg_hba.conf \
  -c unix_socket_directories=/run/postgresql -c max_connections=200 -c shared_buffers=64MB \
  -c logging_collector=off -c log_destination=stderr -c cluster_name=berth
