#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A subscriber with nothing but curl: an org's events as server-sent events, each a CloudEvent in JSON.
#
#   events.sh SERVER TOKEN_FILE [SUBJECT] [LAST_ID]
#
# It resumes by itself: `id:` is the Last-Event-ID to go on from, once the event is whole (an empty line ends it)
# and was printed. What is cut before that comes again.
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
  id= data=
  while IFS= read -r line; do
    case $line in
      id:*) id=${line#id: } ;;
      data:*) data=${line#data: } ;;
      '')
        if [ -n "$data" ]; then printf '%s\n' "$data"; fi
        if [ -n "$id" ]; then echo "$id" > "$work/last"; fi
        id= data=
        ;;
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
