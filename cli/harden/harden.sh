#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Inside an image: puts Berth's shim in front of its tools, keeps it there over package upgrades, and checks it.
#
#   harden.sh install   find the tools of the list, move them aside, hook into the package manager (root)
#   harden.sh apply     put the shim in front again where an upgrade replaced it (root)
#   harden.sh restore   put the tools back for the time of an upgrade (root)
#   harden.sh check     try to get past the shim (as nobody); exit 1 where a way led past it
#   harden.sh finish    clean up after the check (root)
set -eu
home=/usr/lib/berth
real=$home/real
shim=$home/berth-shim
probe=$home/berth-probe
list=$home/tools    # names and paths that were asked for, one a line
places=$home/places # paths at which the shim lies, one a line
work=/tmp/berth-check
folders="/usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin"

# Root finds the real tools first: this script, and the scripts of packages, work as if nothing were guarded.
real_path=
for folder in $folders; do real_path=$real_path$real$folder:; done
PATH=${real_path}$(echo $folders | tr ' ' ':')
export PATH

fail() {
    echo "berth: $*" >&2
    exit 1
}

family() {
    names=" $(. /etc/os-release && echo "${ID:-} ${ID_LIKE:-}") "
    case $names in
        *" debian "* | *" ubuntu "*) echo apt ;;
        *" alpine "*) echo apk ;;
        *" fedora "* | *" rhel "* | *" centos "*) echo dnf ;;
        *) fail "this image is of no known family (/etc/os-release says:$names): Debian, Alpine and Fedora with theirs are" ;;
    esac
}

# Where a path really is: without links in its folder, and behind its own links, unless they end at a program of many
# names (busybox), which decides by the name and stays.
place_of() {
    one=$1
    while :; do
        folder=$(cd "$(dirname "$one")" && pwd -P) || return 1
        one=${folder%/}/$(basename "$one")
        [ -L "$one" ] || break
        case $(basename "$(readlink -f "$one")") in busybox* | toybox* | coreutils | rust-coreutils) break ;; esac
        next=$(readlink "$one")
        case $next in
            /*) one=$next ;;
            *) one=$folder/$next ;;
        esac
    done
    [ -e "$one" ] && echo "$one"
}

# Every place of one tool: a path, or a name in each folder of programs.
occurrences() {
    case $1 in
        /*) [ ! -e "$1" ] || place_of "$1" ;;
        *)
            for folder in $folders; do
                [ ! -e "$folder/$1" ] || place_of "$folder/$1"
            done
            ;;
    esac
}

same() { [ "$(sha256sum <"$1")" = "$(sha256sum <"$2")" ]; }

# Other names of the same content: hard links and copies, like perl and perl5.36.0.
twins() {
    [ ! -L "$1" ] || return 0
    size=$(wc -c <"$1")
    find /usr /bin /sbin /opt -xdev -type f -size "${size}c" ! -path "$home/*" 2>/dev/null | while read -r other; do
        [ "$other" = "$1" ] || ! same "$other" "$1" || place_of "$other"
    done
}

refuse_shells() {
    while read -r place; do
        [ "$place" != "$(readlink -f /bin/sh)" ] && [ "$place" != "$(place_of /bin/sh)" ] ||
            fail "$place is the image's shell: a shim cannot stand for it; use a machine that guards at level enforce"
        case $place in
            */ld-*.so* | */busybox*) fail "$place cannot be guarded by a shim; use a machine that guards at level enforce" ;;
        esac
    done <"$1"
}

# A diversion keeps dpkg's hands off: upgrades write to the real tool's place. The name is the one dpkg knows.
divert() {
    for known in "$1" "${1#/usr}"; do
        if dpkg-query -S "$known" >/dev/null 2>&1; then break; fi
    done
    dpkg-query -S "$known" >/dev/null 2>&1 || known=$1
    [ -z "$(dpkg-divert --list "$known")" ] || return 0
    dpkg-divert --quiet --local --no-rename --divert "$real$1" --add "$known"
}

apply() {
    while read -r place; do
        # Gone with its package, or guarded already.
        [ -e "$place" ] || [ -L "$place" ] || continue
        if [ ! -L "$place" ] && same "$place" "$shim"; then continue; fi
        (umask 066 && mkdir -p "$real$(dirname "$place")") # to be entered, not to be listed
        cp "$shim" "$place.berth-new"
        chmod 0755 "$place.berth-new"
        if [ "$(family)" = apt ] && [ -e "$real$place" ]; then
            : # diverted: what lies here was lent, and upgrades are in the real place
        else
            [ "$(family)" != apt ] || divert "$place"
            mv -f "$place" "$real$place"
            hash -r # it may have been cp or mv
        fi
        mv -f "$place.berth-new" "$place"
    done <"$places"
}

# Package scripts may name a tool by its whole path.
restore() {
    while read -r place; do
        [ -e "$real$place" ] || [ -L "$real$place" ] || continue
        if [ "$(family)" = apt ]; then # dpkg writes to the real place: here lies a copy for the time
            cp -pP "$real$place" "$place.berth-new"
            mv -f "$place.berth-new" "$place"
        else
            mv -f "$real$place" "$place"
        fi
        hash -r
    done <"$places"
}

# Package scripts get the real tools, and what a package manager replaced is guarded again.
hook() {
    case $(family) in
        apt)
            mkdir -p /etc/dpkg/dpkg.cfg.d
            cat >/etc/dpkg/dpkg.cfg.d/berth <<HOOK
# The real tools for the time of a change, the shim again after it.
pre-invoke=/bin/sh $home/harden.sh restore
post-invoke=/bin/sh $home/harden.sh apply
HOOK
            ;;
        apk)
            mkdir -p /etc/apk/commit_hooks.d
            cat >/etc/apk/commit_hooks.d/berth <<HOOK
#!/bin/sh
# The real tools for the time of an upgrade, the shim again after it.
case \$1 in
    pre-commit) exec /bin/sh $home/harden.sh restore ;;
    post-commit) exec /bin/sh $home/harden.sh apply ;;
esac
HOOK
            chmod 0755 /etc/apk/commit_hooks.d/berth
            ;;
        dnf)
            mkdir -p /etc/rpm
            echo "%_install_script_path $PATH" >/etc/rpm/macros.berth
            if [ -d /etc/dnf/libdnf5-plugins ] || command -v dnf5 >/dev/null; then
                dnf install -y libdnf5-plugin-actions
                mkdir -p /etc/dnf/libdnf5-plugins/actions.d
                echo "post_transaction::::/bin/sh $home/harden.sh apply" >/etc/dnf/libdnf5-plugins/actions.d/berth.actions
            else
                dnf install -y python3-dnf-plugin-post-transaction-actions
                mkdir -p /etc/dnf/plugins/post-transaction-actions.d
                echo "*:any:/bin/sh $home/harden.sh apply" >/etc/dnf/plugins/post-transaction-actions.d/berth.action
            fi
            ;;
    esac
}

install() {
    [ -x "$shim" ] || fail "the shim is not at $shim"
    family >/dev/null
    command -v find >/dev/null ||
        echo "berth: there is no 'find' in this image: other copies of the tools were not looked for"
    while read -r tool; do
        found=$(occurrences "$tool")
        [ -n "$found" ] || echo "berth: there is no $tool in this image"
        for place in $found; do
            echo "$place"
            twins "$place"
        done >>"$places.all"
    done <"$list"
    sort -u "$places.all" >"$places"
    rm -f "$places.all"
    [ -s "$places" ] || fail "none of the tools is in this image"
    refuse_shells "$places"
    hook
    apply
    chmod 0755 "$home" "$home/harden.sh"
    chmod 0644 "$list" "$places"
    while read -r place; do echo "berth: guarded $place"; done <"$places"
}

# One way to reach a tool. Of the shim: it alone says "berth: …" and exits with 126, where no guard listens.
#   by_shim WAY COMMAND…     the shim has to answer, or the way be closed
#   closed WAY COMMAND…      the way has to be closed
#   known WAY COMMAND…       a way that this level leaves open; told, and no failure
by_shim() {
    way=$1
    shift
    code=0
    said=$("$@" --version </dev/null 2>&1) || code=$?
    case $code:$said in
        126:*berth:*) verdict "shim" ;;
        126:* | 127:*) verdict "closed" ;;
        *) verdict "PASSED" ;;
    esac
}
closed() {
    way=$1
    shift
    if "$@" </dev/null >/dev/null 2>&1; then verdict "PASSED"; else verdict "closed"; fi
}
known() {
    way=$1
    shift
    if "$@" </dev/null >/dev/null 2>&1; then verdict "open"; else verdict "closed"; fi
}
verdict() {
    echo "berth-check: $1 $place $way"
    [ "$1" != PASSED ] || passed=1
}
# The loader refuses a static program; it has nothing to say of the shim.
by_loader() { closed "the loader and the tool" "$1" "$place" --version; }
copy() { cat "$1" >"$2" && chmod 0755 "$2"; }

check() {
    passed=0
    mkdir -p "$work" 2>/dev/null || :
    # Whoever checks has none of root's paths.
    PATH=$(echo $folders | tr ' ' ':')
    number=0
    while read -r place; do
        number=$((number + 1))
        own=$work/$number
        name=${place##*/}
        by_shim "absolute path" "$place"
        by_shim "through /proc/self/root" "/proc/self/root$place"
        by_shim "own PATH" env PATH="${place%/*}" "$name"
        by_shim "env -i" env -i "$place"
        by_shim "sh -c with &&" sh -c "true && exec \"\$0\" \"\$@\"" "$place"
        ln -s "$place" "$own-link" 2>/dev/null || :
        by_shim "symbolic link" "$own-link"
        ln "$place" "$own-hard" 2>/dev/null || :
        by_shim "hard link" "$own-hard"
        copy "$place" "$own-copy" && echo x >>"$own-copy"
        by_shim "renamed copy with a byte more" "$own-copy"
        if command -v bash >/dev/null; then
            by_shim "exec -a" bash -c 'exec -a other "$0" "$@"' "$place"
        fi
        by_shim "an open file" sh -c 'exec 9<"$0"; exec /proc/self/fd/9 "$@"' "$place"
        if command -v setsid >/dev/null; then by_shim "a session of its own" setsid "$place"; fi
        if command -v python3 >/dev/null; then
            by_shim "python3 -c" python3 -c 'import os, sys; os.execv(sys.argv[1], ["other"] + sys.argv[2:])' "$place"
        fi
        if command -v perl >/dev/null; then
            by_shim "perl -e" perl -e 'my $tool = shift; exec { $tool } "other", @ARGV' "$place"
        fi
        if command -v busybox >/dev/null; then by_shim "busybox env" busybox env "$place"; fi
        for kind in memfd thread vfork clone3 untraced-x86-64 untraced-i386 untraced-x32; do
            by_shim "$kind" "$probe" "$kind" "$place"
        done
        copy "$probe" "$own-probe"
        by_shim "a program that was brought along" "$own-probe" exec "$place"
        closed "the list of real tools" ls "$real${place%/*}"
        known "the real tool's own path" "$real$place" --version
        for loader in /lib64/ld-linux-*.so.* /lib/ld-linux-*.so.* /lib/ld-musl-*.so.*; do
            [ ! -e "$loader" ] || by_loader "$loader"
        done
    done <"$places"
    exit "$passed"
}

case ${1:-} in
    install) install ;;
    apply) apply ;;
    restore) restore ;;
    check) check ;;
    finish) rm -rf "$work" "$probe" ;;
    *) fail "usage: harden.sh install|apply|restore|check|finish" ;;
esac
