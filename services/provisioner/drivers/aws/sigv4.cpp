// SPDX-License-Identifier: Apache-2.0
// The canonical forms of Signature Version 4 and the chain of keys.
#include "provisioner/drivers/aws/sigv4.hpp"

#include <algorithm>

#include "core/text.hpp"
#include "identity/token.hpp"

namespace berth::prov::aws {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// Trimmed, and runs of white space (folded lines too) as one space.
std::string squeeze(std::string_view value) {
    std::string out;
    bool gap = false;
    for (const char c : value) {
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            gap = !out.empty();
            continue;
        }
        if (gap) out += ' ';
        gap = false;
        out += c;
    }
    return out;
}

std::string normalized(std::string_view path) {
    std::vector<std::string_view> kept;
    const auto pieces = split(path, '/');
    for (const std::string_view piece : pieces) {
        if (piece.empty() || piece == ".") continue;
        if (piece == "..") {
            if (!kept.empty()) kept.pop_back();
        } else {
            kept.push_back(piece);
        }
    }
    std::string out;
    for (const std::string_view piece : kept) out.append("/").append(piece);
    const bool folder = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    if (out.empty() || folder) out += '/';
    return out;
}

/// Names lower-cased and sorted; values of one name joined in the order they were sent.
Pairs canonical_headers(const SignedParts& request) {
    Pairs sorted;
    for (const auto& [name, value] : request.headers) {
        std::string key = name;
        std::transform(key.begin(), key.end(), key.begin(), lower);
        sorted.emplace_back(std::move(key), squeeze(value));
    }
    std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
        return a.first < b.first;
    });
    Pairs joined;
    for (auto& header : sorted) {
        if (!joined.empty() && joined.back().first == header.first) {
            joined.back().second += "," + header.second;
        } else {
            joined.push_back(std::move(header));
        }
    }
    return joined;
}

std::string signed_names(const Pairs& headers) {
    std::string out;
    for (const auto& header : headers) {
        if (!out.empty()) out += ';';
        out += header.first;
    }
    return out;
}

std::string scope_text(const Scope& scope) {
    return amz_date(scope.time).substr(0, 8) + "/" + scope.region + "/" + scope.service +
           "/aws4_request";
}

}  // namespace

std::string amz_date(WallTime time) {
    std::string out;
    for (const char c : to_rfc3339(time).substr(0, 19)) {
        if (c != '-' && c != ':') out += c;
    }
    return out + "Z";
}

std::string percent_encode(std::string_view text, bool keep_slash) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~';
        if (plain || (keep_slash && c == '/')) {
            out += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out += '%';
            out += kDigits[byte >> 4U];
            out += kDigits[byte & 15U];
        }
    }
    return out;
}

std::string canonical_request(const SignedParts& request) {
    Pairs query;
    for (const auto& [name, value] : request.query)
        query.emplace_back(percent_encode(name), percent_encode(value));
    std::sort(query.begin(), query.end());
    const Pairs headers = canonical_headers(request);
    std::string out = request.method + "\n";
    out += percent_encode(request.normalize_path ? normalized(request.path) : request.path, true);
    out += '\n';
    for (std::size_t i = 0; i < query.size(); ++i)
        out += (i == 0 ? "" : "&") + query[i].first + "=" + query[i].second;
    out += '\n';
    for (const auto& [name, value] : headers) out += name + ":" + value + "\n";
    return out + "\n" + signed_names(headers) + "\n" + hex(identity::sha256(request.body));
}

std::string string_to_sign(const SignedParts& request, const Scope& scope) {
    return "AWS4-HMAC-SHA256\n" + amz_date(scope.time) + "\n" + scope_text(scope) + "\n" +
           hex(identity::sha256(canonical_request(request)));
}

std::string signature(const SignedParts& request, const Scope& scope, const Secret& secret_key) {
    const Secret first("AWS4" + secret_key.reveal());
    const std::string day = amz_date(scope.time).substr(0, 8);
    const Secret dated(identity::hmac_sha256(first.reveal(), day));
    const Secret regional(identity::hmac_sha256(dated.reveal(), scope.region));
    const Secret serviced(identity::hmac_sha256(regional.reveal(), scope.service));
    const Secret signing(identity::hmac_sha256(serviced.reveal(), "aws4_request"));
    return hex(identity::hmac_sha256(signing.reveal(), string_to_sign(request, scope)));
}

std::string authorization(
    const SignedParts& request, const Scope& scope, const Credentials& credentials
) {
    return "AWS4-HMAC-SHA256 Credential=" + credentials.access_key + "/" + scope_text(scope) +
           ", SignedHeaders=" + signed_names(canonical_headers(request)) +
           ", Signature=" + signature(request, scope, credentials.secret_key);
}

}  // namespace berth::prov::aws
