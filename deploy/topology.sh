#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Keeps the server's streams and consumers equal to schemas/topology: at the start and after each start of NATS.
#
# A server that starts again has forgotten its streams in memory (queries, replies, presence, byte channels), so once
# is not enough. Every start gives the server a new id, which it tells whoever connects; looked at each second.
set -u
look_every=1    # a restarted server is without its streams in memory this long
retry_every=5   # after a failure, which is logged
trap 'exit 0' TERM INT

server_id() {
  (
    exec 3<> /dev/tcp/nats/4222 && read -r -t 2 line <&3 && [[ $line =~ \"server_id\":\"([A-Z0-9]+)\" ]] &&
      echo "${BASH_REMATCH[1]}"
  ) 2> /dev/null
}
pause() { sleep "$1" & wait $!; }

applied=
rm -f /tmp/applied
while :; do
  id=$(server_id)
  if [ -n "$id" ] && [ "$id" != "$applied" ]; then
    rm -f /tmp/applied
    if berth-topology apply --nats nats://nats:4222 --creds /etc/berth/topology.creds; then
      applied=$id
      : > /tmp/applied  # the health check's sign
    else
      pause "$retry_every"
    fi
  fi
  pause "$look_every"
done
