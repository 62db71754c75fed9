// SPDX-License-Identifier: Apache-2.0
// The certificate nats-server shows to machines elsewhere: given by the operator, or made here and
// signed by an authority that signs nothing else.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/result.hpp"

namespace berth::topology {

/// What the operator says about the bus's certificate.
struct BusTls {
    /// DNS names and addresses under which the bus is reached; at least one. localhost and
    /// 127.0.0.1 are added: the services go that way.
    std::vector<std::string> names;
    /// A certificate with its key, both PEM, to be used as it is; both empty: one is made.
    std::filesystem::path cert_file;
    std::filesystem::path key_file;
    /// Who signed a given certificate, PEM; empty: one of the system's authorities.
    std::filesystem::path ca_file;
};

/// What the server's configuration and the clients need.
struct BusCertificate {
    std::filesystem::path cert_file;
    std::filesystem::path key_file;
    std::filesystem::path ca_file;  ///< what clients believe; empty: the system's authorities
};

/// Makes (in `folder`, which exists and is private) what is missing: `ca.key` and `ca.pem` once,
/// and `bus.key` and `bus.pem` again when the names changed or half of its life is over. The
/// authority stays, so that machines which know it go on. Needs the program `openssl` unless a
/// certificate is given. Errors: "bad_option" (field), "openssl_missing", "openssl_failed" with its
/// words.
Result<BusCertificate> prepare_certificate(
    const std::filesystem::path& folder, const BusTls& wanted
);

}  // namespace berth::topology
