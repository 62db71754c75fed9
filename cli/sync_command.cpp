// SPDX-License-Identifier: Apache-2.0
// `berth sync`, and the hidden transport that rsync starts in place of ssh.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdlib>

#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"
#include "cli/lease_choice.hpp"
#include "cli/sync.hpp"
#include "core/json.hpp"
#include "net/http_types.hpp"
#include "net/ws_client.hpp"

namespace berth::cli {
namespace {

constexpr std::size_t kChunk = 64 * 1024;  // one frame of a byte channel
// rsync's server ends on its own when the protocol is done; longer means that it hangs.
constexpr seconds kEndPatience{60};
// How long a full channel may make us wait before the sync counts as stuck.
constexpr seconds kSendPatience{600};
// How a WebSocket closes whose server stops, and whose server died.
constexpr int kGoingAway = 1001;
constexpr int kNoGoodbye = 1006;
// 4000 + n: the machine's rsync ended with n.
constexpr int kExitClose = 4000;

std::string variable(const char* name) {
    const char* text = std::getenv(name);
    return text == nullptr ? "" : text;
}

Result<Secret> inherited_token() {
    const std::string text = variable("BERTH_TRANSPORT_TOKEN_FD");
    int number = -1;
    std::from_chars(text.data(), text.data() + text.size(), number);
    std::array<char, 4096> buffer;
    const auto count = number < 0 ? -1 : ::pread(number, buffer.data(), buffer.size(), 0);
    if (count < 0) return invalid("usage", "__rsync-transport is started by 'berth sync' only");
    return Secret(std::string(buffer.data(), static_cast<std::size_t>(count)));
}

/// For the berth that started rsync: its own words end between others' on stderr.
void tell_refusal(int status, std::string_view body) {
    const std::string text = fmt::format("{}\n{}", status, body);
    const std::string number = variable("BERTH_TRANSPORT_REFUSAL_FD");
    int fd = -1;
    std::from_chars(number.data(), number.data() + number.size(), fd);
    if (fd > STDERR_FILENO) write_all(fd, text);
}

/// The gateway is away, told as it would tell it itself.
void tell_away(const Error& error) {
    tell_refusal(503, Json::object().set("code", error.code).set("detail", error.message).dump());
}

struct Transport {
    std::atomic<int> close_code{0};
    std::string close_reason;  // written before close_code
    int wake[2] = {-1, -1};

    // Copies stdin to the lease until the server closes.
    void pump(net::WsClient& socket) {
        std::array<char, kChunk> buffer;
        bool open = true;
        while (!socket.closed()) {
            std::array<pollfd, 2> polled{
                {{open ? STDIN_FILENO : -1, POLLIN, 0}, {wake[0], POLLIN, 0}}};
            const int ready = ::poll(
                polled.data(),
                polled.size(),
                open ? -1 : static_cast<int>(milliseconds(kEndPatience).count())
            );
            if (ready == 0 || polled[1].revents != 0) return;
            if (ready < 0 || polled[0].revents == 0) continue;
            const auto count = ::read(STDIN_FILENO, buffer.data(), buffer.size());
            if (count <= 0) {
                open = false;
                if (!socket.send_text("eof", kSendPatience))
                    return;  // a WebSocket has no half-close of its own
            } else if (!socket.send_binary(
                           {buffer.data(), static_cast<std::size_t>(count)}, kSendPatience
                       )) {
                return;
            }
        }
    }
};

}  // namespace

int run_rsync_transport(Context& context, const Arguments&) {
    ::signal(SIGPIPE, SIG_IGN);
    auto token = inherited_token();
    if (!token) {
        context.complain(token.error());
        return kExitUsage;
    }
    Transport transport;
    if (::pipe2(transport.wake, O_CLOEXEC) != 0) return 1;
    Api api(variable("BERTH_TRANSPORT_SERVER"), *token);
    net::WsClientOptions options;
    options.headers = api.headers();
    net::WsClientEvents events;
    events.on_message = [](std::string_view bytes, bool) { write_all(STDOUT_FILENO, bytes); };
    events.on_closed = [&](int code, const std::string& reason) {
        transport.close_reason = reason;
        transport.close_code = code;
        if (::write(transport.wake[1], "x", 1) < 0) return;  // a full pipe wakes as well
    };
    net::WsRefusal refusal;
    const std::string path = fmt::format(
        "/v1/leases/{}/sync?{}",
        net::percent_encode(variable("BERTH_TRANSPORT_LEASE")),
        variable("BERTH_TRANSPORT_QUERY")
    );
    auto socket =
        net::WsClient::connect(api.server(), path, std::move(options), std::move(events), &refusal);
    if (!socket) {
        const Error error = refusal.status != 0 ? Api::problem(refusal.status, refusal.body)
                                                : api.explain(socket.error());
        if (refusal.status != 0) {
            tell_refusal(refusal.status, refusal.body);
        } else if (is_gateway_away(error)) {
            tell_away(error);
        }
        context.complain(error);
        return 1;
    }
    transport.pump(**socket);
    // rsync takes our exit code for that of its other half.
    const bool closed = (*socket)->wait_closed(kEndPatience);
    if (closed && transport.close_code == 1000) return 0;
    const int code = transport.close_code;
    if (code > kExitClose && code < kExitClose + 256) return code - kExitClose;
    const Error error = unavailable(
        "connection_lost",
        fmt::format(
            "the sync channel closed ({}{}{})",
            code,
            transport.close_reason.empty() ? "" : ": ",
            transport.close_reason
        )
    );
    // Any other code is the word of a gateway that is there.
    if (code == kGoingAway || code == kNoGoodbye) tell_away(error);
    context.complain(error);
    return 1;
}

int run_sync(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) {
        context.complain(token.error());
        return 1;
    }
    Api api(context.server(), *token);
    auto lease = chosen_lease(context, api, context.settings().text("lease"));
    if (!lease) {
        context.complain(lease.error());
        return 1;
    }
    auto report = sync_tree(
        context,
        *token,
        {lease->id(), lease->machine()},
        {.force = arguments.has("force-sync"), .beside_runs = true}
    );
    if (!report) {
        context.complain(report.error());
        return 1;
    }
    if (context.json()) {
        Json out = Json::object();
        out.set("lease", lease->id())
            .set("machine", lease->machine())
            .set("skipped", report->skipped);
        out.set("files", static_cast<std::int64_t>(report->files))
            .set("deleted", static_cast<std::int64_t>(report->deleted));
        out.set("bytes", static_cast<std::int64_t>(report->bytes))
            .set("took_ms", static_cast<std::int64_t>(report->took.count()));
        context.print(out.dump() + "\n");
    } else if (report->skipped) {
        context.progress(
            fmt::format("nothing has changed since the last sync ({} files)", report->files)
        );
    } else {
        context.progress(fmt::format(
            "synced {} files in {}, {} deleted",
            report->files,
            format_duration(report->took),
            report->deleted
        ));
    }
    return 0;
}

}  // namespace berth::cli
