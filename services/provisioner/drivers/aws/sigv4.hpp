// SPDX-License-Identifier: Apache-2.0
// AWS Signature Version 4, the header form: what proves to AWS who asks.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/secret.hpp"
#include "core/time.hpp"

namespace berth::prov::aws {

/// A user's or role's key. The session token is there with temporary keys only.
struct Credentials {
    std::string access_key;
    Secret secret_key;
    Secret session_token;
};

/// A request as it will be sent, apart from its Authorization header.
struct SignedParts {
    std::string method = "POST";
    std::string path = "/";                                  ///< raw, not percent-encoded
    std::vector<std::pair<std::string, std::string>> query;  ///< decoded
    /// Everything that is signed, any case, any order; Host and X-Amz-Date must be among them.
    std::vector<std::pair<std::string, std::string>> headers;
    std::string body;
    bool normalize_path = true;  ///< "." and ".." and "//" resolved; S3 alone does without
};

struct Scope {
    WallTime time;
    std::string region;
    std::string service = "ec2";
};

/// "20150830T123600Z", the value of X-Amz-Date.
std::string amz_date(WallTime time);
/// RFC 3986: everything but A-Z a-z 0-9 - . _ ~ becomes %XX. Forms are written so too.
std::string percent_encode(std::string_view text, bool keep_slash = false);

std::string canonical_request(const SignedParts& request);
std::string string_to_sign(const SignedParts& request, const Scope& scope);
/// 64 lower-case hexadecimal digits.
std::string signature(const SignedParts& request, const Scope& scope, const Secret& secret_key);
/// The value of the Authorization header.
std::string authorization(
    const SignedParts& request, const Scope& scope, const Credentials& credentials
);

}  // namespace berth::prov::aws
