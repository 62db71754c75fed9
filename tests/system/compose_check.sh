#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The compose deployment, proven from nothing: builds the images, starts it, does its main job, takes it down.
#
# usage: tests/system/compose_check.sh [--no-build] [--keep]
#   --no-build   the images are there already
#   --keep       leave the deployment running (with an engine that this check started: until it ends)
#
# Exit codes: 0 proven, 1 failed, 77 skipped, with the reason on stderr in capitals.
# Where no container engine answers and this is root, one is started for the check alone: own socket, own data
# in build/compose_check, ended by its pid. Where the base image is missing it is made by debootstrap. Proxies for
# the build are taken from http_proxy, https_proxy and no_proxy; BERTH_DEBIAN_MIRROR names another mirror.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/build/compose_check
base=debian:bookworm-slim
mirror=${BERTH_DEBIAN_MIRROR:-http://deb.debian.org/debian}
build=1 keep=
for word in "$@"; do
  case $word in
    --no-build) build= ;;
    --keep) keep=1 ;;
    *) echo "usage: $0 [--no-build] [--keep]" >&2; exit 2 ;;
  esac
done

engine_pid= short= up=
step() { printf '\n== %s\n' "$*"; }
skip() { printf '\nCOMPOSE CHECK SKIPPED, NOTHING WAS PROVEN: %s\n' "$*" >&2; exit 77; }
fail() { printf '\nCOMPOSE CHECK FAILED: %s\n' "$*" >&2; exit 1; }

cleanup() {
  local code=$?
  trap - EXIT
  if [ -n "$up" ] && [ "$code" != 0 ]; then
    $compose logs --no-color > "$work/logs.txt" 2>&1 || true
    $compose ps >&2 || true
    tail -n 60 "$work/logs.txt" >&2
    echo "(all logs: build/compose_check/logs.txt)" >&2
  fi
  if [ -n "$up" ] && [ -z "$keep" ]; then $compose down -v --remove-orphans > /dev/null 2>&1 || code=1; fi
  if [ -n "$engine_pid" ]; then
    [ -n "$keep" ] && echo "the engine goes on until Enter: DOCKER_HOST=$DOCKER_HOST" && read -r _ < /dev/tty
    kill "$engine_pid" 2> /dev/null || true
    wait "$engine_pid" 2> /dev/null || true
  fi
  if [ -n "$short" ]; then
    umount "$short"/exec/netns/* 2> /dev/null || true  # what the engine leaves mounted there
    rm -rf "$short" || true
  fi
  exit "$code"
}
trap cleanup EXIT
mkdir -p "$work"

# --- an engine ------------------------------------------------------------------------------------------------
command -v docker > /dev/null || skip "no docker client (Debian: apt-get install docker.io docker-compose)"
if docker compose version > /dev/null 2>&1; then
  compose="docker compose"
elif command -v docker-compose > /dev/null; then
  compose=docker-compose
else
  skip "neither 'docker compose' nor docker-compose is installed"
fi
if ! docker info > /dev/null 2>&1; then
  [ "$(id -u)" = 0 ] || skip "no container engine answers, and only root could start one"
  command -v dockerd > /dev/null || skip "no container engine answers, and dockerd is not installed"
  step "Starting an engine for this check"
  short=$(mktemp -d /tmp/berth-compose.XXXXXX)  # a socket's path is limited to 107 bytes
  export DOCKER_HOST=unix://$short/docker.sock
  # It ends with this script, even when that is killed.
  setpriv --pdeathsig TERM dockerd --host "$DOCKER_HOST" --data-root "$work/engine" --exec-root "$short/exec" \
    --pidfile "$short/pid" > "$work/dockerd.log" 2>&1 &
  engine_pid=$!
  for _ in $(seq 120); do
    docker info > /dev/null 2>&1 && break
    if ! kill -0 "$engine_pid" 2> /dev/null; then
      engine_pid=
      skip "the container engine does not start on this kernel: $(grep -v level=info "$work/dockerd.log" | tail -n 3)"
    fi
    sleep 0.5
  done
  docker info > /dev/null 2>&1 || skip "the container engine does not answer after 60 s; see build/compose_check/dockerd.log"
fi
# The classic builder where the newer one is missing.
docker buildx version > /dev/null 2>&1 || export DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=0

# --- the base image -------------------------------------------------------------------------------------------
if [ -z "$(docker images -q "$base")" ]; then
  tarball=$work/debian-bookworm-slim.tar.gz
  if [ ! -s "$tarball" ]; then
    [ "$(id -u)" = 0 ] || skip "the image $base is missing, and only root could make it (debootstrap)"
    command -v debootstrap > /dev/null || skip "the image $base is missing, and so is debootstrap to make it"
    step "Making $base by debootstrap"
    rm -rf "$work/root"
    debootstrap --variant=minbase bookworm "$work/root" "$mirror" > "$work/debootstrap.log" || skip "debootstrap failed; see build/compose_check/debootstrap.log"
    printf 'deb %s %s main\n' "$mirror" bookworm "$mirror" bookworm-updates "${mirror%/}-security" bookworm-security \
      > "$work/root/etc/apt/sources.list"
    # Packages are to be had inside as they are here: how apt reaches its mirrors and what dates it accepts.
    apt-config dump | grep -E '^Acquire::(Check-|http|https)' > "$work/root/etc/apt/apt.conf.d/90host" || true
    rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
    tar -C "$work/root" --numeric-owner -cz . > "$tarball.new"
    mv "$tarball.new" "$tarball"
    rm -rf "$work/root"
  fi
  docker import "$tarball" "$base" > /dev/null
fi
docker run --rm --user 65534 --security-opt seccomp=unconfined --security-opt apparmor=unconfined "$base" \
  unshare --user --map-root-user true || skip "this kernel gives a user in a container no user namespace; the local driver needs them"

# --- build and start ------------------------------------------------------------------------------------------
if [ -n "$build" ]; then
  step "Building the images"
  began=$SECONDS
  $compose build > "$work/build.log" 2>&1 || { tail -n 40 "$work/build.log" >&2; fail "the images do not build; see build/compose_check/build.log"; }
  echo "built in $((SECONDS - began)) s"
fi

# Any free port of the loopback, so that a deployment of the user's is not in the way.
for port in $(shuf -i 20000-32000 -n 20); do
  (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null || break
done
export BERTH_PORT=$port COMPOSE_PROJECT_NAME=berthcheck$$
server=http://127.0.0.1:$port
step "Starting (project $COMPOSE_PROJECT_NAME, $server)"
up=1
began=$SECONDS
$compose up -d --no-build > "$work/up.log" 2>&1 || { cat "$work/up.log" >&2; fail "up failed"; }

# Health of every container that goes on; "exited 0" of those that end.
states() {
  local id
  for id in $($compose ps -q) $(docker ps -aq --no-trunc --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --filter status=exited); do
    docker inspect -f '{{index .Config.Labels "com.docker.compose.service"}} {{if eq .State.Status "exited"}}exited {{.State.ExitCode}}{{else if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}' "$id"
  done | sort -u
}
wanted="gateway healthy
init exited 0
lease healthy
nats healthy
postgres healthy
prometheus healthy
prov healthy
run healthy
topology healthy
warden healthy
webhook healthy"
for _ in $(seq 120); do
  [ "$(states)" = "$wanted" ] && break
  sleep 1
done
[ "$(states)" = "$wanted" ] || fail "not everything is healthy after two minutes:
$(states)"
echo "ready after $((SECONDS - began)) s"
$compose ps

# --- the main job, through the published port -----------------------------------------------------------------
berth() {
  timeout 120 docker run --rm --network host --user "$(id -u):$(id -g)" -e BERTH_TOKEN -e BERTH_SERVER="$server" -e HOME=/tmp \
    -v "$work/project:/project:ro" -w /project berth-services:local berth "$@"
}
token() { $compose exec -T gateway cat /etc/berth/bootstrap.token; }
BERTH_TOKEN=$(token)
export BERTH_TOKEN
mkdir -p "$work/project"
echo "synced" > "$work/project/file.txt"
: > "$work/project/berth.yaml"

main_job() {
  local code=0
  berth run -- sh -c 'echo hello; cat file.txt; id -u >&2; exit 7' > "$work/out.txt" 2> "$work/err.txt" || code=$?
  [ "$code" = 7 ] || { cat "$work/out.txt" "$work/err.txt" >&2; fail "the exit code is $code, not 7"; }
  [ "$(cat "$work/out.txt")" = "$(printf 'hello\nsynced')" ] || { cat "$work/out.txt" "$work/err.txt" >&2; fail "the output differs"; }
}
step "berth run -- sh -c 'echo hello; cat file.txt; exit 7'"
main_job
cat "$work/out.txt"
echo "(exit code 7)"
code=0
BERTH_TOKEN=berth_$(head -c 32 /dev/zero | base64 | tr '+/' '-_' | tr -d '=') berth whoami > /dev/null 2>&1 || code=$?
[ "$code" != 0 ] || fail "a wrong token is accepted"

# --- what is promised of the deployment itself ----------------------------------------------------------------
step "Prometheus"
targets() { $compose exec -T prometheus promtool query instant http://127.0.0.1:9090 up 2>&1 || true; }
# Those that are not up; the bridges run only where they are asked for.
missing() {
  local up name
  up=$(targets)
  for name in gateway lease prov run warden webhook prometheus; do
    grep -q "job=\"$name\"} => 1 " <<< "$up" || printf '%s ' "$name"
  done
}
for _ in $(seq 40); do
  down=$(missing)
  [ -z "$down" ] && break
  sleep 1
done
targets
[ -z "$down" ] || fail "Prometheus does not find up: $down"

step "Isolation"
ids=$($compose ps -q)
[ -z "$(docker inspect -f '{{range $port, $binds := .NetworkSettings.Ports}}{{range $binds}}{{.HostIp}} {{end}}{{end}}' $ids | tr -d '\n ' | sed 's/127\.0\.0\.1//g')" ] \
  || fail "a port is published beyond the loopback interface"
for service in gateway lease run warden; do
  found=$($compose exec -T "$service" sh -c 'ls /etc/berth; find / /etc/berth -xdev -name account.seed 2> /dev/null; true' | tr '\n' ' ')
  case $found in
    *account.seed*) fail "$service sees the account's signing key" ;;
    *"$service.creds"*) ;;
    *) fail "$service's own files are not to be seen: $found" ;;
  esac
  $compose exec -T "$service" sh -c '! touch /opt/berth/x 2> /dev/null' || fail "$service can change its own image"
done
# shellcheck disable=SC2016 # expanded inside the container
capable=$($compose exec -T prov sh -c 'for p in /proc/[0-9]*; do
    case "$(cat $p/comm 2> /dev/null)" in berth-*) grep -hE "^(Cap(Prm|Eff|Bnd)|Uid|NoNewPrivs)" $p/status ;; esac; done' |
  grep -vE '^(Cap(Prm|Eff|Bnd):\s0+|Uid:(\s922){4}|NoNewPrivs:\s1)$' || true)
[ -z "$capable" ] || fail "the provisioner or a node holds more than it should: $capable"
echo "only the loopback port is open; the signing key is the provisioner's alone; nothing in prov holds a capability"

step "A run goes on while nats, postgres, lease, run and warden restart"
expected=$(seq 1 15)
berth run --no-sync -- sh -c 'for i in $(seq 1 15); do echo $i; sleep 1; done; exit 9' > "$work/out.txt" 2> "$work/err.txt" &
run_pid=$!
for _ in $(seq 60); do grep -q '^2$' "$work/out.txt" && break; sleep 0.5; done
grep -q '^2$' "$work/out.txt" || fail "the run does not begin: $(cat "$work/err.txt")"
$compose restart nats postgres lease run warden > "$work/up.log" 2>&1 || fail "the restart failed"
code=0
wait "$run_pid" || code=$?
{ [ "$code" = 9 ] && [ "$(cat "$work/out.txt")" = "$expected" ]; } || { cat "$work/out.txt" "$work/err.txt" >&2; fail "the run ended with $code, or lost output"; }
echo "all output, exit code 9"

step "A second up changes no secret, a restart of everything loses nothing"
$compose up -d --no-build > "$work/up.log" 2>&1 || fail "the second up failed"
$compose restart nats postgres lease run warden gateway prov > "$work/up.log" 2>&1 || fail "the restart failed"
for _ in $(seq 120); do
  [ "$(states)" = "$wanted" ] && break
  sleep 1
done
[ "$(states)" = "$wanted" ] || fail "not everything is healthy after the restart:
$(states)"
[ "$(token)" = "$BERTH_TOKEN" ] || fail "the token changed"
# A consumer in memory that was made anew is found by its service at its next look, 35 s later at most.
began=$SECONDS
until berth leases > /dev/null 2> "$work/err.txt" && berth runs > /dev/null 2> "$work/err.txt"; do
  [ $((SECONDS - began)) -lt 60 ] || fail "no answers a minute after the restart: $(cat "$work/err.txt")"
  sleep 1
done
main_job
echo "the same token, the same answer; queries were answered after $((SECONDS - began)) s"

if [ -z "$keep" ]; then
  step "Taking it down"
  $compose down -v --remove-orphans > "$work/up.log" 2>&1 || fail "down failed"
  up=
  left=$(docker ps -aq --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"; docker volume ls -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME")
  [ -z "$left" ] || fail "left behind: $left"
fi
printf '\nCOMPOSE CHECK PASSED\n'
