// SPDX-License-Identifier: Apache-2.0
// The script a machine runs at its first boot.
#pragma once

#include <string>

#include "core/secret.hpp"
#include "provisioner/driver.hpp"

namespace berth::prov {

struct BootFacts {
    std::string gateway_url;
    std::string nats_url;
    std::string bus_ca;  ///< PEM; empty: the machine's own authorities are believed
    std::string bundle_sha256;
    Secret token;
    std::string ssh_public_key;  ///< used where the profile wants ssh
    /// The host is its owner's and not made for us: its own ssh server is left as it is.
    bool keep_ssh = false;
};

/// A POSIX shell script, a few KiB: EC2 takes 16. It may be run again after it was cut short at any
/// point. Needs root, curl (or apt-get to install it), tar, gzip and a shell.
Secret boot_script(const MachineSpec& spec, const BootFacts& facts);

}  // namespace berth::prov
