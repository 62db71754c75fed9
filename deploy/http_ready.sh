#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The health check of every container that answers HTTP: exit 0 when http://127.0.0.1:<port><path> says 200.
#
# Needs bash alone, since the images hold no HTTP client.
set -u
port=${1:?port}
path=${2:?path}
exec 3<>"/dev/tcp/127.0.0.1/$port" || exit 1
printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' "$path" >&3
read -r -t 3 _ code _ <&3 || exit 1
[ "${code:-}" = 200 ]
