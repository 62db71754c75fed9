// SPDX-License-Identifier: Apache-2.0
// The exchange: key and signature, curl, credential.
#include "node_agent/enrol.hpp"

#include <unistd.h>

#include <charconv>
#include <csignal>

#include "core/fd.hpp"
#include "core/id.hpp"
#include "core/json.hpp"
#include "core/text.hpp"
#include "identity/creds.hpp"
#include "identity/jwt.hpp"
#include "process/spawn.hpp"

namespace berth::node {
namespace {

namespace fs = std::filesystem;

constexpr seconds kEnrolPatience{25};
constexpr int kCurlSeconds = 20;  // ends before our patience does, and says why
constexpr std::size_t kMaxAnswer = 64U << 10U;
constexpr std::size_t kMaxToken = 256;

/// The machine's own key: of its credential, or made now and kept until it has one.
Result<identity::KeyPair> own_key(const Settings& settings) {
    if (const auto creds = identity::read_creds(settings.creds_file))
        return identity::KeyPair::from_seed(creds->seed);
    const fs::path path = settings.dir / "node" / "seed";
    std::error_code error;
    if (fs::exists(path, error)) {
        BERTH_ASSIGN(const Secret seed, identity::read_seed(path));
        return identity::KeyPair::from_seed(seed);
    }
    auto key = identity::KeyPair::create(identity::KeyKind::kUser);
    BERTH_TRY(identity::write_seed(path, key.seed()));
    return key;
}

/// A value of curl's configuration file.
std::string curl_quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + "\"";
}

/// Ours without the bus's authority (bus::believe_only), which is not the gateway's.
std::vector<std::string> curl_environment() {
    std::vector<std::string> out;
    for (char** each = environ; *each != nullptr; ++each) {
        const std::string_view entry = *each;
        if (!entry.starts_with("SSL_CERT_FILE=") && !entry.starts_with("SSL_CERT_DIR="))
            out.emplace_back(entry);
    }
    return out;
}

/// Runs curl with its configuration on stdin; what it printed.
Result<std::string> run_curl(const Secret& config) {
    BERTH_ASSIGN(process::Pipe in, process::make_pipe());
    BERTH_ASSIGN(process::Pipe out, process::make_pipe());
    process::SpawnSpec spec;
    spec.argv = {"curl", "--config", "-"};
    spec.env = curl_environment();
    spec.stdin_fd = in.read.get();
    spec.stdout_fd = out.write.get();
    spec.death_signal = SIGKILL;
    auto child = process::spawn(spec);
    if (!child) return unavailable("no_curl", "curl cannot be run: " + child.error().message);
    in.read.reset();
    out.write.reset();
    const std::string& text = config.reveal();  // far below a pipe's 64 KiB
    const bool sent =
        ::write(in.write.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
    in.write.reset();
    std::string answer;
    char buffer[4096];
    // curl ends by itself, and its end of the pipe with it.
    for (ssize_t got = 1; got > 0 && answer.size() < kMaxAnswer;) {
        got = ::read(out.read.get(), buffer, sizeof buffer);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            answer.append(buffer, static_cast<std::size_t>(got));
    }
    const auto end = child->wait(kEnrolPatience);
    if (!end) child->kill();
    if (!sent || !end || end->code != 0)
        return unavailable(
            "no_gateway",
            "the gateway cannot be reached: curl ended with " + std::to_string(end ? end->code : -1)
        );
    return answer;
}

Result<Json> request_of(const Settings& settings, const identity::KeyPair& key) {
    const std::string nonce = make_ulid(Clock::system().now(), Random::system());
    Json body =
        Json::object()
            .set("machine", settings.machine)
            .set("user_public_key", key.public_key())
            .set("nonce", nonce)
            .set("signature", base64url(key.sign("berth-enrol:" + settings.machine + ":" + nonce)));
    // Without it the key stands alone, which is enough once it has used the token.
    if (auto token = read_file(settings.dir / "node" / "token", kMaxToken)) {
        while (!token->empty() && token->back() == '\n') token->pop_back();
        body.set("token", *token);
    }
    return body;
}

/// The credential's JWT of an answer "<body>\n<status>".
Result<std::string> read_answer(const std::string& answer) {
    const std::size_t line = answer.rfind('\n');
    int status = 0;
    if (line != std::string::npos)
        std::from_chars(answer.data() + line + 1, answer.data() + answer.size(), status);
    const auto body = Json::parse(answer.substr(0, line == std::string::npos ? 0 : line));
    const std::string code = body ? body->string_or("code", "") : "";
    const std::string words = body ? body->string_or("detail", "") : "";
    if (status == 403) return forbidden(code, words);
    const std::string jwt = body ? body->string_or("jwt", "") : "";
    if (status != 200 || jwt.empty())
        return unavailable(
            "not_enrolled",
            "the gateway answers " + std::to_string(status) + " " + code + " " + words
        );
    return jwt;
}

}  // namespace

bool must_enrol(const Settings& settings, WallTime now) {
    if (settings.enrol_url.empty()) return false;
    const auto creds = identity::read_creds(settings.creds_file);
    if (!creds) return true;
    const auto claims = identity::decode_user(creds->jwt);
    return !claims || (claims->expires_at && *claims->expires_at <= now);
}

Result<void> enrol(const Settings& settings) {
    BERTH_ASSIGN(const auto key, own_key(settings));
    BERTH_ASSIGN(const Json body, request_of(settings, key));
    const Secret config(
        "silent\nshow-error\nrequest = \"POST\"\nmax-time = " + std::to_string(kCurlSeconds) +
        "\nurl = " + curl_quoted(settings.enrol_url + "/v1/nodes/enrol") +
        "\nheader = \"Content-Type: application/json\"\ndata = " + curl_quoted(body.dump()) +
        "\nwrite-out = \"\\n%{http_code}\"\n"
    );
    BERTH_ASSIGN(const std::string answer, run_curl(config));
    BERTH_ASSIGN(std::string jwt, read_answer(answer));
    BERTH_TRY(identity::write_creds(settings.creds_file, {std::move(jwt), key.seed()}));
    std::error_code ignored;
    fs::remove(settings.dir / "node" / "token", ignored);
    fs::remove(settings.dir / "node" / "seed", ignored);
    return {};
}

}  // namespace berth::node
