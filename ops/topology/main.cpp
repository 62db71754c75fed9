// SPDX-License-Identifier: Apache-2.0
// berth-topology: makes a deployment's keys and configuration, and keeps a server's streams equal
// to the files.
#include <charconv>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bus/connection.hpp"
#include "config/config.hpp"
#include "core/time.hpp"
#include "topology/apply.hpp"
#include "topology/deployment.hpp"

namespace {

using namespace berth;            // NOLINT(google-build-using-namespace): a main file
using namespace berth::topology;  // NOLINT(google-build-using-namespace)

constexpr milliseconds kRequestTimeout{5000};  // a stream of a loaded server is made in some 10 ms
constexpr milliseconds kConnectDeadline{30'000};  // the server may be starting at the same moment
constexpr int kUsage = 2;

constexpr const char* kHelp =
    "berth-topology generate --dir D [--host H] [--port N|-1] [--ports-dir P] [--store-dir P] "
    "[--http-port N]\n"
    "                        [--max-memory SIZE] [--max-file SIZE]\n"
    "                        [--tls-name NAME]... [--tls-cert FILE --tls-key FILE [--tls-ca "
    "FILE]]\n"
    "    Makes or completes keys, credentials and nats-server.conf in D. Existing keys are kept. "
    "With\n"
    "    --tls-name (a host name or an address that clients use) the server speaks TLS only, with "
    "a\n"
    "    certificate that is made in D/tls and signed by D/tls/ca.pem, or with the one that is "
    "given.\n"
    "berth-topology apply [--nats URL] [--tls-ca FILE] --creds FILE [--max-bytes STREAM=SIZE]... "
    "[--replicas N] "
    "[--check]\n"
    "    Makes the server's streams and durable consumers equal to the topology; --check only "
    "compares.\n"
    "Both take --topology FOLDER to read the YAML files of a folder instead of those built in.\n";

/// Flags as `--name value` or `--name=value`; `--check` alone. Each is taken once; what is left is
/// an error.
class Flags {
public:
    explicit Flags(std::vector<std::string> words) : words_(std::move(words)) {}

    std::optional<std::string> take(std::string_view name) {
        for (std::size_t i = 0; i < words_.size(); ++i) {
            if (words_[i] == name && i + 1 < words_.size()) {
                std::string value = words_[i + 1];
                erase(i, 2);
                return value;
            }
            if (words_[i].size() > name.size() && words_[i].starts_with(name) &&
                words_[i][name.size()] == '=') {
                std::string value = words_[i].substr(name.size() + 1);
                erase(i, 1);
                return value;
            }
        }
        return std::nullopt;
    }
    bool take_switch(std::string_view name) {
        for (std::size_t i = 0; i < words_.size(); ++i) {
            if (words_[i] != name) continue;
            erase(i, 1);
            return true;
        }
        return false;
    }
    Result<int> take_int(std::string_view name, int fallback) {
        const auto text = take(name);
        if (!text) return fallback;
        int value = 0;
        const auto parsed = std::from_chars(text->data(), text->data() + text->size(), value);
        if (parsed.ec != std::errc{} || parsed.ptr != text->data() + text->size())
            return invalid("bad_flag", *text + " is no number", std::string(name));
        return value;
    }
    Result<std::uint64_t> take_bytes(std::string_view name, std::uint64_t fallback) {
        const auto text = take(name);
        return text ? config::parse_bytes(*text) : Result<std::uint64_t>(fallback);
    }
    Result<void> finish() const {
        return words_.empty()
                   ? Result<void>{}
                   : Result<void>(invalid("bad_flag", "unknown or incomplete: " + words_.front()));
    }

private:
    void erase(std::size_t first, std::size_t count) {
        const auto begin = words_.begin() + static_cast<std::ptrdiff_t>(first);
        words_.erase(begin, begin + static_cast<std::ptrdiff_t>(count));
    }
    std::vector<std::string> words_;
};

Result<Topology> read_topology(Flags& flags) {
    const auto folder = flags.take("--topology");
    return folder ? load(*folder) : Result<Topology>(builtin());
}

Result<void> run_generate(Flags flags) {
    BERTH_ASSIGN(const Topology topology, read_topology(flags));
    const auto folder = flags.take("--dir");
    if (!folder) return invalid("bad_flag", "generate needs --dir");
    DeploymentOptions options;
    options.host = flags.take("--host").value_or(options.host);
    BERTH_ASSIGN(options.port, flags.take_int("--port", options.port));
    BERTH_ASSIGN(options.http_port, flags.take_int("--http-port", options.http_port));
    options.ports_folder = flags.take("--ports-dir").value_or("");
    options.store_folder = flags.take("--store-dir").value_or("");
    topology::BusTls tls;
    while (const auto name = flags.take("--tls-name")) tls.names.push_back(*name);
    tls.cert_file = flags.take("--tls-cert").value_or("");
    tls.key_file = flags.take("--tls-key").value_or("");
    tls.ca_file = flags.take("--tls-ca").value_or("");
    if (!tls.names.empty() || !tls.cert_file.empty()) options.tls = std::move(tls);
    BERTH_ASSIGN(options.max_memory, flags.take_bytes("--max-memory", options.max_memory));
    BERTH_ASSIGN(options.max_file, flags.take_bytes("--max-file", options.max_file));
    BERTH_TRY(flags.finish());
    BERTH_ASSIGN(
        const Deployment made, generate(topology, *folder, options, Clock::system().now())
    );
    std::printf("%s\n", made.conf.c_str());
    return {};
}

Result<void> read_max_bytes(Flags& flags, ApplyOptions& options) {
    while (const auto text = flags.take("--max-bytes")) {
        const auto equals = text->find('=');
        if (equals == std::string::npos)
            return invalid("bad_flag", "--max-bytes takes STREAM=SIZE");
        BERTH_ASSIGN(const std::uint64_t bytes, config::parse_bytes(text->substr(equals + 1)));
        options.max_bytes[text->substr(0, equals)] = static_cast<std::int64_t>(bytes);
    }
    return {};
}

Result<void> run_apply(Flags flags) {
    BERTH_ASSIGN(const Topology topology, read_topology(flags));
    bus::ConnectSettings settings;
    settings.url = flags.take("--nats").value_or(settings.url);
    settings.ca_file = flags.take("--tls-ca").value_or("");
    settings.name = "topology";
    settings.inbox_prefix = "_INBOX.topology";
    settings.connect_deadline = kConnectDeadline;
    if (const auto creds = flags.take("--creds"))
        settings.credentials = bus::credentials_from_file(*creds);
    ApplyOptions options;
    BERTH_TRY(read_max_bytes(flags, options));
    BERTH_ASSIGN(options.replicas, flags.take_int("--replicas", options.replicas));
    options.check_only = flags.take_switch("--check");
    BERTH_TRY(flags.finish());
    BERTH_ASSIGN(const auto connection, bus::connect(std::move(settings)));
    const ApiRequest request = [&](std::string_view subject, std::string_view json) {
        return connection->request(subject, json, kRequestTimeout);
    };
    BERTH_ASSIGN(const ApplyReport report, apply_topology(topology, request, options));
    for (const auto& name : report.created) std::printf("created   %s\n", name.c_str());
    for (const auto& name : report.updated) std::printf("updated   %s\n", name.c_str());
    std::printf(
        "%zu created, %zu updated, %zu unchanged\n",
        report.created.size(),
        report.updated.size(),
        report.unchanged.size()
    );
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::string> words(argv + 1, argv + argc);
    const std::string verb = words.empty() ? "" : words.front();
    if (verb == "--help" || verb == "-h" || verb == "help") {
        std::fputs(kHelp, stdout);
        return 0;
    }
    if (verb != "generate" && verb != "apply") {
        std::fputs(kHelp, stderr);
        return kUsage;
    }
    words.erase(words.begin());
    const auto done = verb == "generate" ? run_generate(Flags(std::move(words)))
                                         : run_apply(Flags(std::move(words)));
    if (done) return 0;
    std::fprintf(stderr, "berth-topology: %s\n", done.error().describe().c_str());
    return done.error().code == "bad_flag" ? kUsage : 1;
}
