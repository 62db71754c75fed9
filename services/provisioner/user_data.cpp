// SPDX-License-Identifier: Apache-2.0
// The text of the script: what differs between machines stands at its top, the rest is the same for
// all.
#include "provisioner/user_data.hpp"

namespace berth::prov {
namespace {

/// As one word of a POSIX shell.
std::string quoted(const std::string& text) {
    std::string out = "'";
    for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
}

constexpr const char* kSteps = R"SH(
dir=/var/lib/berth
log() { echo "berth: $*" >&2; }
# The script may come on stdin (over ssh): nobody else reads that.
install() { { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$@"; } </dev/null >&2; }
command -v curl >/dev/null 2>&1 || install curl ca-certificates

# The node's own user: no password, no shell; what runs for people runs in a sandbox below it.
id berth >/dev/null 2>&1 || useradd --system --user-group --home-dir "$dir" --shell /usr/sbin/nologin berth
mkdir -p "$dir" /opt/berth
chmod 700 "$dir"

# What is installed is what the provisioner knows, byte for byte.
if [ "$(cat /opt/berth/sha256 2>/dev/null)" != "$bundle_sha256" ]; then
    bundle=$(mktemp)
    curl -fsS --retry 20 --retry-delay 2 --retry-connrefused --max-time 120 -o "$bundle" "$gateway_url/v1/nodes/bundle"
    if ! echo "$bundle_sha256  $bundle" | sha256sum -c --status; then log "the node bundle is not the one that was promised"; exit 1; fi
    tar -xzf "$bundle" -C /opt/berth --no-same-owner
    rm -f "$bundle"
    chmod -R a+rX,go-w /opt/berth
    echo "$bundle_sha256" >/opt/berth/sha256
fi

# Sandboxes are user namespaces; a network of their own is a tun device. Where the kernel has no such
# switch there is nothing to do.
for switch in kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0; do
    sysctl -qw "$switch" 2>/dev/null || true
done
modprobe tun 2>/dev/null || true
[ ! -c /dev/net/tun ] || chmod 0666 /dev/net/tun

mkdir -p "$dir/machine/node"
printf '%s\n' "$node_yaml" >"$dir/machine/node/node.yaml"
[ -z "$bus_ca" ] || printf '%s\n' "$bus_ca" >"$dir/machine/node/bus_ca.pem"
# The token dies on first use: once there is a credential it is of no use.
[ -e "$dir/machine/node/creds" ] || printf '%s\n' "$token" >"$dir/machine/node/token"
chmod -R go-rwx "$dir/machine"
chown -R berth:berth "$dir"

if [ -n "$ssh_key" ]; then
    command -v sshd >/dev/null 2>&1 || install openssh-server
    id dev >/dev/null 2>&1 || useradd --create-home --shell /bin/bash dev
    mkdir -p /home/dev/.ssh
    chmod 700 /home/dev/.ssh
    printf '%s\n' "$ssh_key" >/home/dev/.ssh/authorized_keys
    chown -R dev:dev /home/dev/.ssh
    chmod 600 /home/dev/.ssh/authorized_keys
    mkdir -p /etc/ssh/sshd_config.d
    printf 'Port 2222\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin no\nAuthenticationMethods publickey\nAllowUsers dev\n' >/etc/ssh/sshd_config.d/00-berth.conf
    systemctl restart ssh 2>/dev/null || { mkdir -p /run/sshd; "$(command -v sshd)"; }
elif [ -z "$keep_ssh" ]; then
    # Nothing listens: the machine calls us.
    systemctl disable --now ssh ssh.socket sshd 2>/dev/null || true
fi

# Runs outlive the node agent: only its own process is ended with the service.
if [ -d /run/systemd/system ]; then
    printf '[Unit]\nDescription=Berth node agent\nAfter=network-online.target\nWants=network-online.target\n\n[Service]\nUser=berth\nExecStart=/opt/berth/bin/berth-node --dir %s/machine\nEnvironment=PATH=/opt/berth/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nKillMode=process\nRestart=always\nRestartSec=2\nStartLimitIntervalSec=0\n\n[Install]\nWantedBy=multi-user.target\n' "$dir" >/etc/systemd/system/berth-node.service
    systemctl daemon-reload
    systemctl enable --now berth-node
else
    printf '#!/bin/sh\nPATH=/opt/berth/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nexport PATH\ncd /\nwhile :; do\n    /opt/berth/bin/berth-node --dir %s/machine\n    [ $? -ne 3 ] || exit 0\n    sleep 2\ndone\n' "$dir" >/opt/berth/keep
    chmod 755 /opt/berth/keep
    # A second keeper finds the node agent's lock held and ends.
    setsid setpriv --reuid=berth --regid=berth --init-groups /opt/berth/keep >>/var/log/berth-node.log 2>&1 </dev/null &
fi
log "the node agent of $machine is installed"
)SH";

}  // namespace

Secret boot_script(const MachineSpec& spec, const BootFacts& facts) {
    const std::string node_yaml =
        "machine: " + spec.machine + "\norg: " + spec.org + "\nlease: " + spec.lease +
        "\nslug: " + spec.slug + "\nprofile: " + spec.profile.name() +
        "\nnats_url: " + facts.nats_url + "\nenrol_url: " + facts.gateway_url +
        "\ncreds_file: creds\nnetwork: " + (spec.profile.network() ? "true" : "false") +
        (facts.bus_ca.empty() ? "" : "\nnats_ca_file: bus_ca.pem") + guard_line(spec.profile);
    std::string out =
        "#!/bin/sh\n# Installs Berth's node agent and lets it enrol once.\n"
        "set -eu\numask 022\n";
    const auto set = [&out](const char* name, const std::string& value) {
        out += std::string(name) + "=" + quoted(value) + "\n";
    };
    set("machine", spec.machine);
    set("gateway_url", facts.gateway_url);
    set("bundle_sha256", facts.bundle_sha256);
    set("token", facts.token.reveal());
    set("ssh_key", spec.profile.ssh() && !facts.keep_ssh ? facts.ssh_public_key : "");
    set("keep_ssh", facts.keep_ssh ? "yes" : "");
    set("bus_ca", facts.bus_ca);
    set("node_yaml", node_yaml);
    return Secret(out + kSteps);
}

}  // namespace berth::prov
