#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Starts the provisioner where its machines can be made: in a container whose own /proc is masked by the engine.
#
# A machine of the local driver is a bubblewrap sandbox in a user namespace, and the kernel lets such a namespace
# mount a /proc of its own only while an unmasked one is in sight. The engine masks parts of the container's, and
# only newer clients can ask it not to (systempaths=unconfined); so one more /proc of the same process namespace is
# mounted here. It shows nothing but this container. The capability for that goes before anything else starts:
# the provisioner and all it starts run as an ordinary user that can gain nothing. tini, as the same user, since
# signals must reach it, buries the processes that outlive a node agent.
set -eu
mkdir -p /run/berth/proc
mount -t proc -o nosuid,nodev,noexec proc /run/berth/proc
exec setpriv --reuid=922 --regid=922 --clear-groups --inh-caps=-all --ambient-caps=-all --bounding-set=-all \
  --no-new-privs /usr/bin/tini -- /opt/berth/bin/berth-prov --config /etc/berth/prov.yaml
