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
last=${4:-0}
# The token is not in argv, where others could read it.
header=$(mktemp)
trap 'rm -f "$header" "$header.id"' EXIT
printf 'Authorization: Bearer %s\n' "$(cat "$token_file")" > "$header"
echo "$last" > "$header.id"
while :; do
  # Ends when the gateway restarts; --fail makes a refusal an end, too.
  curl --silent --show-error --no-buffer --fail --get --header "@$header" \
    --header "Last-Event-ID: $(cat "$header.id")" ${subject:+--data-urlencode "subject=$subject"} \
    "$server/v1/events" | while IFS= read -r line; do
    case $line in
      id:*) echo "${line#id: }" > "$header.id" ;;
      data:*) printf '%s\n' "${line#data: }" ;;
    esac
  done
  sleep 1
done
