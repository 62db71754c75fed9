// SPDX-License-Identifier: Apache-2.0
// The signer against AWS's own suite of cases, each down to its canonical request.
#include "provisioner/drivers/aws/sigv4.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "core/fd.hpp"
#include "core/json.hpp"
#include "core/text.hpp"
#include "identity/token.hpp"

namespace berth::prov::aws {
namespace {

std::string percent_decode(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size()) {
            out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
            i += 2;
        } else {
            out += text[i];
        }
    }
    return out;
}

/// A request of the suite: like HTTP/1.1 with bare line feeds, and paths that may hold spaces.
SignedParts parse_request(const std::string& text) {
    SignedParts parts;
    const auto head_end = text.find("\n\n");
    if (head_end != std::string::npos) parts.body = text.substr(head_end + 2);
    const auto lines = split(std::string_view(text).substr(0, head_end), '\n');
    const std::string_view first = lines[0];
    const auto method_end = first.find(' ');
    const auto target_end = first.rfind(' ');
    parts.method = first.substr(0, method_end);
    const std::string_view target = first.substr(method_end + 1, target_end - method_end - 1);
    const auto query = target.find('?');
    parts.path = target.substr(0, query);
    if (query != std::string_view::npos) {
        for (const auto pair : split(target.substr(query + 1), '&')) {
            const auto equals = pair.find('=');
            parts.query.emplace_back(
                percent_decode(pair.substr(0, equals)),
                equals == std::string_view::npos ? "" : percent_decode(pair.substr(equals + 1))
            );
        }
    }
    for (const auto line : std::vector(lines.begin() + 1, lines.end())) {
        if (line.empty()) continue;
        if (line[0] == ' ') {  // a folded line
            parts.headers.back().second.append("\n").append(line);
            continue;
        }
        const auto colon = line.find(':');
        parts.headers.emplace_back(line.substr(0, colon), line.substr(colon + 1));
    }
    return parts;
}

TEST(SigV4, SignsEveryCaseOfTheOfficialSuite) {
    const auto text = read_file(
        std::string(std::getenv("BERTH_SOURCE_DIR")) +
            "/tests/support/specs/aws-sigv4-test-suite.json",
        1U << 20U
    );
    ASSERT_TRUE(text);
    const auto suite = Json::parse(*text);
    ASSERT_TRUE(suite) << suite.error().describe();
    int cases = 0;
    for (const auto& [name, files] : *suite->find("cases")->as_object()) {
        SCOPED_TRACE(name);
        const Json& context = *files.find("context.json");
        const Json& keys = *context.find("credentials");
        const Credentials credentials{
            keys.string_or("access_key_id", ""),
            Secret(keys.string_or("secret_access_key", "")),
            Secret(keys.string_or("token", ""))};
        const Scope scope{
            parse_rfc3339(context.string_or("timestamp", "")).value(),
            context.string_or("region", ""),
            context.string_or("service", "")};
        SignedParts request = parse_request(files.string_or("request.txt", ""));
        request.normalize_path = context.bool_or("normalize", true);
        request.headers.emplace_back("X-Amz-Date", amz_date(scope.time));
        if (context.bool_or("sign_body", false))
            request.headers.emplace_back(
                "x-amz-content-sha256", hex(identity::sha256(request.body))
            );
        if (!credentials.session_token.empty() && !context.bool_or("omit_session_token", false))
            request.headers.emplace_back(
                "X-Amz-Security-Token", credentials.session_token.reveal()
            );
        EXPECT_EQ(canonical_request(request), files.string_or("header-canonical-request.txt", ""));
        EXPECT_EQ(string_to_sign(request, scope), files.string_or("header-string-to-sign.txt", ""));
        EXPECT_EQ(
            signature(request, scope, credentials.secret_key),
            files.string_or("header-signature.txt", "")
        );
        const std::string header = "Authorization:" + authorization(request, scope, credentials);
        EXPECT_NE(
            files.string_or("header-signed-request.txt", "").find(header + "\n"), std::string::npos
        ) << header;
        ++cases;
    }
    EXPECT_EQ(cases, 38);
}

TEST(SigV4, EncodesAsRfc3986Says) {
    EXPECT_EQ(percent_encode("a b+c/é~-._*"), "a%20b%2Bc%2F%C3%A9~-._%2A");
    EXPECT_EQ(percent_encode("/a b/", true), "/a%20b/");
}

}  // namespace
}  // namespace berth::prov::aws
