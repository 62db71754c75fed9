#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes every secret of a compose deployment and hands each service its own: a folder nobody else mounts.
#
# Runs to its end at each `up`. Secrets are made once and kept in /state, which this container alone mounts;
# settings are written anew. /out/<name> is the volume that the service <name> mounts read-only at /etc/berth:
# the folder root:<gid> 0750, the files <uid>:<gid> 0400. Root needs CAP_CHOWN for that, and CAP_DAC_READ_SEARCH to read
# what the host's user keeps to himself below /chat (deploy/chat).
set -euo pipefail
umask 077

state=/state
bridges="slack telegram discord whatsapp"
services="gateway lease prov run warden webhook $bridges"
# name=uid; the images' users have the same numbers (deploy/Dockerfile, docker-compose.yml).
ids="nats=910 postgres=911 topology=913 gateway=920 lease=921 prov=922 run=923 warden=924 webhook=925
slack=926 telegram=927 discord=928 whatsapp=929"

# hand <name> <file>: standard input becomes /out/<name>/<file>, whole or not at all.
hand() {
  local id=${ids#*"$1="}
  id=${id%%[!0-9]*}
  local target="/out/$1/$2"
  chown "0:$id" "/out/$1"
  chmod 0750 "/out/$1"
  rm -f "$target.new"
  cat > "$target.new"
  chmod 0400 "$target.new"
  chown "$id:$id" "$target.new"
  mv "$target.new" "$target"
}

# keep <file> <command...>: the command's output becomes /state/<file> once and stays.
keep() {
  local file="$state/$1"
  shift
  [ -s "$file" ] && return
  "$@" > "$file.new"
  sync "$file.new"
  mv "$file.new" "$file"
}
random_hex() { od -An -v -N24 -tx1 /dev/urandom | tr -d ' \n'; }
random_token() { printf 'berth_%s' "$(head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n')"; }

berth-topology generate --dir "$state/nats" --host 0.0.0.0 --port 4222 --store-dir /var/lib/nats --http-port 8222
hand nats nats-server.conf < "$state/nats/nats-server.conf"
hand topology topology.creds < "$state/nats/creds/topology.creds"

for service in $services; do keep "postgres-$service.secret" random_hex; done
for service in $services; do echo "$service $(cat "$state/postgres-$service.secret")"; done | hand postgres roles

common() {
  cat <<YAML
nats_url: nats://nats:4222
creds_file: /etc/berth/$1.creds
postgres: host=postgres dbname=berth user=$1 password=$(cat "$state/postgres-$1.secret") connect_timeout=5
listen: 0.0.0.0:7490
YAML
}
for service in $services; do hand "$service" "$service.creds" < "$state/nats/creds/$service.creds"; done

keep bootstrap.token random_token
hand gateway bootstrap.token < "$state/bootstrap.token"
{
  common gateway
  echo "http_listen: 0.0.0.0:7480"
  echo "bootstrap_token_file: /etc/berth/bootstrap.token"
} | hand gateway gateway.yaml
common lease | hand lease lease.yaml
common run | hand run run.yaml
common warden | hand warden warden.yaml
keep webhook.key random_hex
hand webhook webhook.key < "$state/webhook.key"
{
  common webhook
  echo "key_file: /etc/berth/webhook.key"
} | hand webhook webhook.yaml
hand prov account.seed < "$state/nats/account.seed"
{
  common prov
  echo "account_seed_file: /etc/berth/account.seed"
  echo "machines_dir: /var/lib/berth/machines"
  echo "node_binary: /opt/berth/bin/berth-node"
} | hand prov prov.yaml
# A bridge is configured by deploy/chat/<name>/: settings.yaml, and the files of secrets that it names as /etc/berth/<file>.
for bridge in $bridges; do
  [ -e "/chat/$bridge/settings.yaml" ] || continue
  for file in "/chat/$bridge"/*; do
    [ "${file##*/}" = settings.yaml ] || hand "$bridge" "${file##*/}" < "$file"
  done
  { common "$bridge"; cat "/chat/$bridge/settings.yaml"; } | hand "$bridge" "$bridge.yaml"
done
echo "secrets and settings are in place"
