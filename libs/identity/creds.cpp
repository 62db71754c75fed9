// SPDX-License-Identifier: Apache-2.0
// Reading and writing .creds; the odd dashes (five to open, six to close) are NATS's own.
#include "identity/creds.hpp"

#include "core/fd.hpp"
#include "core/text.hpp"
#include "identity/jwt.hpp"
#include "identity/nkeys.hpp"

namespace berth::identity {
namespace {

constexpr std::size_t kMaxCreds = 1U << 20U;

/// The line between `-----BEGIN <label>-----` and the END line after it; empty when there is none.
std::string_view section(std::string_view text, std::string_view label) {
    const std::string begin = "-----BEGIN " + std::string(label) + "-----\n";
    const auto from = text.find(begin);
    if (from == std::string_view::npos) return {};
    const auto first = from + begin.size();
    const auto end = text.find("\n------END " + std::string(label) + "------", first);
    if (end == std::string_view::npos) return {};
    return text.substr(first, end - first);
}

}  // namespace

Secret format_creds(const Creds& creds) {
    std::string out;
    out.reserve(
        creds.jwt.size() + 1024
    );  // no growth: that would leave an unwiped copy of the seed behind
    out += "-----BEGIN NATS USER JWT-----\n";
    out += creds.jwt;
    out +=
        "\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\n"
        "NKEY Seed printed below can be used to sign and prove identity.\n"
        "NKEYs are sensitive and should be treated as secrets.\n\n"
        "-----BEGIN USER NKEY SEED-----\n";
    out += creds.seed.reveal();
    out +=
        "\n------END USER NKEY SEED------\n\n"
        "*************************************************************\n";
    return Secret(std::move(out));
}

Result<Creds> parse_creds(std::string_view text) {
    const auto jwt = section(text, "NATS USER JWT");
    const auto seed = section(text, "USER NKEY SEED");
    if (jwt.empty() || seed.empty())
        return invalid("bad_creds", "it has not both a user JWT and a seed");
    Creds creds{std::string(jwt), Secret(std::string(seed))};
    const auto claims = decode_user(creds.jwt);
    if (!claims) return invalid("bad_creds", claims.error().message);
    const auto key = KeyPair::from_seed(creds.seed);
    if (!key) return invalid("bad_creds", key.error().message);
    if (key->public_key() != claims->subject)
        return invalid("bad_creds", "its JWT and its seed are of two users");
    return creds;
}

Result<Creds> read_creds(const std::filesystem::path& path) {
    auto content = read_file(path, kMaxCreds);
    if (!content) return std::move(content).error();
    const Secret text(*std::move(content));
    auto creds = parse_creds(text.reveal());
    if (!creds) return invalid("bad_creds", path.string() + ": " + creds.error().message);
    return creds;
}

Result<void> write_creds(const std::filesystem::path& path, const Creds& creds) {
    return write_file_atomic(path, format_creds(creds).reveal(), 0600);
}

Result<void> write_seed(const std::filesystem::path& path, const Secret& seed) {
    const Secret line(seed.reveal() + "\n");
    return write_file_atomic(path, line.reveal(), 0600);
}

Result<Secret> read_seed(const std::filesystem::path& path) {
    auto content = read_file(path, kMaxCreds);
    if (!content) return std::move(content).error();
    const Secret text(*std::move(content));
    const std::string_view line(text.reveal());
    Secret seed(std::string(line.substr(0, line.find_last_not_of("\r\n ") + 1)));
    if (auto key = KeyPair::from_seed(seed); !key)
        return invalid("bad_seed", path.string() + ": " + key.error().message);
    return seed;
}

}  // namespace berth::identity
