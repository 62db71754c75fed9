#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The README's two commands, proven where nothing is installed: a bare Debian 12, entered as a machine of its own.
#
# usage: tests/system/bare_root.sh [--only run|test] [--user] [--cache FOLDER] [--keep] [--reuse]
#   --only run|test  one of './run --once' and './test'; without it both, in this order, in the same root
#   --user           as a fresh unprivileged user who may sudo; else as root
#   --cache FOLDER   where the bare root is kept between runs (default: build/bare_root)
#   --keep           leave the root that was used; its path is printed
#   --reuse          go on in the root that an earlier --keep left: packages and compiler cache stay, the source is new
#
# What is proven is the commit HEAD of this repository, cloned anew: uncommitted changes are not in it.
# Exit codes: 0 all commands exited 0, 1 one did not, 2 wrong usage, 77 skipped, with the reason on stderr in capitals.
# Each command's output is in FOLDER/run.log and FOLDER/test.log too. It takes about half an hour on two cores.
#
# A plain chroot would not do: the kernel refuses user namespaces there, and the local driver's sandbox is one. So the
# root is entered by pivot_root in namespaces of its own (mounts, processes, IPC, host name). The network is the
# host's, for packages: the port 7480 must be free here. Debian's mirror, and how to reach it, are those of this host's apt.
set -euo pipefail
readonly kTimeLimit=7200  # s for each command: four times what a busy machine of two cores needs
readonly kUser=dev

# --- inside: called by the script itself, as the first process of the new namespaces ----------------------------
if [ "${1:-}" = --inside ]; then
    root=$2 user=$3 command=$4
    hostname bare
    mount --bind "$root" "$root"
    for folder in dev sys; do mount --rbind "/$folder" "$root/$folder"; done
    mount -t proc proc "$root/proc"
    if [ -c /dev/net/tun ]; then  # open to everybody, as udev makes it on a machine that boots
        mount -t tmpfs -o mode=755 tmpfs "$root/dev/net"
        mknod -m 666 "$root/dev/net/tun" c 10 200
    fi
    cd "$root"
    pivot_root . mnt
    cd /
    umount -l /mnt
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    # The environment of a fresh login, and the way to the mirror. Not exec'ed: the first process must stay and collect
    # orphans as an init does, which bash does while it waits.
    keep=()
    for name in http_proxy https_proxy no_proxy TERM; do
        [ -z "${!name:-}" ] || keep+=("$name=${!name}")
    done
    code=0
    if [ "$user" = root ]; then
        env -i HOME=/root USER=root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${keep[@]}" \
            timeout --foreground -k 10 $kTimeLimit bash -c "cd && $command" </dev/null || code=$?
    else
        env -i HOME="/home/$user" USER="$user" PATH=/usr/local/bin:/usr/bin:/bin "${keep[@]}" \
            setpriv --reuid="$user" --regid="$user" --init-groups \
            timeout --foreground -k 10 $kTimeLimit bash -c "cd && $command" </dev/null || code=$?
    fi
    exit $code
fi

# --- outside ----------------------------------------------------------------------------------------------------
only='' user=root keep='' reuse=''
repository=$(cd "$(dirname "$0")/../.." && pwd)
cache=$repository/build/bare_root
usage() { sed -n 's/^# \?//; 5,10p' "$0" >&2; exit 2; }
step() { printf '\n\033[1m== bare root: %s\033[0m\n' "$*"; }
skip() { printf '\nBARE ROOT SKIPPED, NOTHING WAS PROVEN: %s\n' "$*" >&2; exit 77; }
while [ $# -gt 0 ]; do
    case $1 in
        --only) only=${2:-}; case $only in run | test) ;; *) usage ;; esac; shift ;;
        --cache) [ -n "${2:-}" ] || usage; cache=$2; shift ;;
        --user) user=$kUser ;;
        --keep) keep=1 ;;
        --reuse) reuse=1 ;;
        *) usage ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || skip "only root can make a root and enter it"
for tool in debootstrap git unshare pivot_root; do
    command -v "$tool" >/dev/null || skip "$tool is missing (Debian: apt-get install debootstrap git util-linux)"
done
if (exec 3<>/dev/tcp/127.0.0.1/7480) 2>/dev/null; then
    skip "port 7480 of 127.0.0.1 is taken, and ./run needs it (berth down)"
fi
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

# Debian 12's sources as this host's apt knows them, one 'URI SUITE' a line, whichever format they are written in.
sources() {
    # shellcheck disable=SC2016 # apt expands these
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(CREATED_BY)' |
        awk '$2 ~ /^bookworm(-updates|-security)?$/ && $3 == "main" && $4 == "Packages" { print $1, $2 }' | sort -u
}
mirror=$(sources | awk '$2 == "bookworm" { print $1; exit }')
[ -n "$mirror" ] || skip "this host's apt names no source of Debian 12 (bookworm)"

# The bare root, made once and kept packed, so that every use starts from the same nothing.
base=$cache/base.tar
if [ ! -s "$base" ]; then
    step "making it from $mirror"
    rm -rf --one-file-system "$cache/base"
    debootstrap --variant=minbase bookworm "$cache/base" "$mirror" >"$cache/debootstrap.log" ||
        skip "debootstrap failed; see $cache/debootstrap.log"
    rm -rf "$cache"/base/var/cache/apt/archives/*.deb "$cache"/base/var/lib/apt/lists/*
    tar -C "$cache/base" --numeric-owner -cf "$base.new" .
    mv "$base.new" "$base"
    rm -rf --one-file-system "$cache/base"
fi

root=$cache/root
home=$root/root
[ "$user" = root ] || home=$root/home/$user
if [ -z "$reuse" ] || [ ! -d "$root" ]; then
    rm -rf --one-file-system "$root"
    mkdir -p "$root"
    tar -C "$root" --numeric-owner -xpf "$base"
fi
finish() {
    if [ -n "$keep" ]; then echo "the root is kept: $root"; else rm -rf --one-file-system "$root"; fi
}
trap finish EXIT

# What an installer leaves on any machine, and nothing else: names, the mirrors and the way to them.
printf '127.0.0.1 localhost\n127.0.1.1 bare\n::1 localhost\n' >"$root/etc/hosts"
echo bare >"$root/etc/hostname"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
sources | sed 's/.*/deb & main/' >"$root/etc/apt/sources.list"
apt-config dump | grep -E '^Acquire::(Check-|http|https|Retries)' >"$root/etc/apt/apt.conf.d/90host" || true
inside() { # inside USER COMMAND
    unshare --mount --pid --fork --kill-child --ipc --uts "$0" --inside "$root" "$1" "$2"
}
if [ "$user" != root ]; then
    step "a user who may sudo"
    inside root "apt-get update -qq && apt-get install -y -qq --no-install-recommends sudo >/dev/null"
    [ -d "$home" ] || inside root "useradd --create-home --shell /bin/bash $user"
    echo "$user ALL=(ALL) NOPASSWD: ALL" >"$root/etc/sudoers.d/$user"
    chmod 440 "$root/etc/sudoers.d/$user"
fi
# Cloned from outside: not even git is there when ./run begins. What an earlier use built stays with --reuse.
rm -rf "$cache/clone"
git clone --quiet --no-hardlinks "file://$repository" "$cache/clone"
[ ! -d "$home/berth/build" ] || mv "$home/berth/build" "$cache/clone/build"
rm -rf "$home/berth"
mv "$cache/clone" "$home/berth"
[ "$user" = root ] || chown -R --reference="$home" "$home/berth"
commit=$(git -C "$repository" log -1 --format='%h %s')

failed=0
results=()
proof() { # proof NAME COMMAND
    step "$2 (as $user, commit $commit)"
    local began=$SECONDS code=0
    inside "$user" "cd berth && $2" 2>&1 | tee "$cache/$1.log" || code=${PIPESTATUS[0]}
    results+=("$(printf '%-14s exit code %d after %d s' "$2" "$code" $((SECONDS - began)))")
    [ "$code" = 0 ] || failed=1
}
[ "$only" = test ] || proof run "./run --once"
[ "$only" = run ] || proof test ./test
step "Debian 12 with nothing installed, as $user, commit $commit"
printf '%s\n' "${results[@]}"
exit $failed
