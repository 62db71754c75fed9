#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A subscriber with nothing but curl: an org's events as server-sent events, each a CloudEvent in JSON.
#
#   events.sh SERVER TOKEN_FILE [SUBJECT] [LAST_ID]
#
# It resumes by itself: `id:` is the Last-Event-ID to go on from.
set -eu
server=$1
token_file=$2
subject=${3:-}
work=$(mktemp -d)
pids=
trap 'kill $pids 2> /dev/null; rm -rf "$work"' EXIT
trap 'exit 0' INT TERM
# The token is not in argv, where others could read it.
printf 'Authorization: Bearer %s\n' "$(cat "$token_file")" > "$work/header"
echo "${4:-0}" > "$work/last"
mkfifo "$work/events"

take_lines() {
  while IFS= read -r line; do
    case $line in
      id:*) echo "${line#id: }" > "$work/last" ;;
      data:*) printf '%s\n' "${line#data: }" ;;
    esac
  done < "$work/events"
}

while :; do
  take_lines &
  pids=$!
  # Ends when the gateway restarts; --fail makes a refusal an end, too.
  curl --silent --show-error --no-buffer --fail --get --header "@$work/header" \
    --header "Last-Event-ID: $(cat "$work/last")" ${subject:+--data-urlencode "subject=$subject"} \
    "$server/v1/events" > "$work/events" &
  pids="$pids $!"
  wait
  sleep 1
done
