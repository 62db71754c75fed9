// SPDX-License-Identifier: Apache-2.0
// One thread: signals, children, readiness and the status file all pass through one loop.
#include "cli/up/supervisor.hpp"

#include <fmt/format.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>

#include "cli/up/nats.hpp"
#include "cli/up/postgres.hpp"
#include "cli/up/services.hpp"
#include "core/json.hpp"
#include "process/file_lock.hpp"
#include "process/process_id.hpp"

namespace berth::cli::up {
namespace fs = std::filesystem;
namespace {

using Steady = std::chrono::steady_clock;

constexpr milliseconds kIdle{1'000};
constexpr std::size_t kLogLines = 5;  // shown of each part that is not ready

std::vector<std::string> base_names() { return {"postgres", "nats"}; }

/// Blocks the signals that end us and gives them as a descriptor.
class StopSignals {
public:
    StopSignals() {
        sigset_t set;
        sigemptyset(&set);
        for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, number);
        ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
        fd_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    }
    int fd() const { return fd_.get(); }
    bool received() const {
        signalfd_siginfo info{};
        return ::read(fd_.get(), &info, sizeof info) == sizeof info;
    }

private:
    Fd fd_;
};

class Deployment {
public:
    explicit Deployment(const SupervisorOptions& options)
        : options_(options), layout_(options.layout) {}

    Result<void> run() {
        auto lock = process::FileLock::acquire(layout_.lock());
        if (!lock) return lock.error().code == "locked" ? already_up(layout_) : lock.error();
        const auto self = process::ProcessId::self();
        BERTH_TRY(write_file_atomic(layout_.pid_file(), self.to_text() + "\n", 0600));
        Result<void> result = prepare();
        if (result) result = live();
        write_status("stopped");
        std::error_code ignored;
        fs::remove(layout_.pid_file(), ignored);
        return result;
    }

private:
    std::vector<std::string> service_names() const {
        std::vector<std::string> out;
        for (const auto& service : services_) out.emplace_back(service.token);
        return out;
    }
    std::vector<std::string> all_names() const {
        auto out = base_names();
        for (auto& name : service_names()) out.push_back(name);
        return out;
    }

    Result<void> prepare() {
        if (!port_is_free(options_.http_port)) {
            return conflict(
                "port_taken",
                fmt::format(
                    "port {} of 127.0.0.1 is taken; choose another with --port", options_.http_port
                )
            );
        }
        std::error_code ignored;
        if (!fs::exists(layout_.postgres() / "PG_VERSION", ignored))
            options_.progress("making a new database, once");
        BERTH_ASSIGN(services_, services_of(layout_));
        BERTH_TRY(prepare_postgres(layout_));
        BERTH_ASSIGN(nats_, prepare_nats(layout_));
        BERTH_ASSIGN(PartSpec postgres, postgres_part(layout_));
        BERTH_ASSIGN(PartSpec nats, nats_part(layout_, nats_));
        children_.add(std::move(postgres));
        children_.add(std::move(nats));
        for (const auto& service : services_) {
            BERTH_TRY(write_settings(layout_, service, nats_, options_.http_port));
            children_.add(service_part(layout_, service));
        }
        return {};
    }

    Result<void> live() {
        begin_ = Steady::now();
        children_.start(base_names());
        while (!signals_.received()) {
            children_.tend(told_ ? kIdle : milliseconds{100}, signals_.fd());
            if (!topology_applied_ && children_.all_ready({"nats"})) start_topology();
            if (topology_under_way() &&
                topology_.wait_for(std::chrono::seconds{0}) == std::future_status::ready)
                end_topology();
            if (topology_applied_ && !services_started_ && children_.all_ready(base_names())) {
                services_started_ = true;
                children_.start(service_names());
            }
            tell_when_started();
            if (children_.changes() != written_)
                write_status(
                    children_.all_ready(all_names()) ? "ready"
                    : told_                          ? "degraded"
                                                     : "starting"
                );
        }
        options_.progress("stopping");
        write_status("stopping");
        if (topology_under_way()) topology_.wait();
        // Who asks stops before who answers, and all services before what they stand on.
        children_.stop(service_names());
        children_.stop({"nats"});
        children_.stop({"postgres"});
        return {};
    }

    // In a thread of its own: it takes a while at the first start, and PostgreSQL starts meanwhile.
    void start_topology() {
        if (topology_under_way() || Steady::now() < topology_again_) return;
        topology_ = std::async(std::launch::async, [this] { return apply_topology(nats_); });
    }
    bool topology_under_way() const { return topology_.valid(); }
    void end_topology() {
        const auto applied = topology_.get();
        topology_applied_ = static_cast<bool>(applied);
        topology_error_ = applied ? "" : applied.error().message;
        topology_again_ = Steady::now() + seconds{1};
    }

    void tell_when_started() {
        if (told_) return;
        written_ = children_.all_ready(all_names()) || Steady::now() - begin_ > options_.patience
                       ? ~0UL
                       : written_;  // the state changes
        if (children_.all_ready(all_names())) {
            told_ = true;
            options_.on_started({});
        } else if (Steady::now() - begin_ > options_.patience) {
            told_ = true;
            options_.on_started(what_is_missing());
        }
    }

    Error what_is_missing() {
        std::string text = fmt::format(
            "not everything was ready within {}; it goes on trying, see 'berth status'",
            format_duration(options_.patience)
        );
        if (!topology_error_.empty()) text += "\n  topology: " + topology_error_;
        for (const auto& part : children_.view()) {
            if (part.state == PartState::kReady && part.reason.empty()) continue;
            text += fmt::format("\n  {}: {} ({})", part.name, to_string(part.state), part.reason);
            const std::string lines = last_lines(layout_.log() / (part.name + ".log"), kLogLines);
            for (std::size_t at = 0; at < lines.size();) {
                const auto end = std::min(lines.find('\n', at), lines.size());
                text += "\n    " + lines.substr(at, end - at);
                at = end + 1;
            }
        }
        return unavailable("not_ready", text);
    }

    // Readers see the old or the new file; nothing is lost with it, so no fsync.
    void write_status(std::string_view state) {
        written_ = children_.changes();
        Json parts = Json::array();
        for (const auto& part : children_.view()) {
            Json one = Json::object();
            one.set("name", part.name)
                .set("state", to_string(part.state))
                .set("pid", static_cast<std::int64_t>(part.pid));
            one.set("reason", part.reason).set("restarts", part.restarts);
            parts.push(std::move(one));
        }
        Json all = Json::object();
        all.set("state", state).set("pid", static_cast<std::int64_t>(::getpid()));
        all.set("url", fmt::format("http://127.0.0.1:{}", options_.http_port))
            .set("parts", std::move(parts));
        const fs::path fresh = layout_.status_file().string() + ".new";
        std::ofstream(fresh, std::ios::trunc) << all.dump() << "\n";
        std::error_code ignored;
        fs::rename(fresh, layout_.status_file(), ignored);
    }

    const SupervisorOptions& options_;
    const Layout& layout_;
    StopSignals signals_;  // before any thread
    std::vector<ServiceName> services_;
    Nats nats_;
    Children children_;
    std::future<Result<void>> topology_;
    bool topology_applied_ = false;
    std::string topology_error_;
    Steady::time_point topology_again_;
    bool services_started_ = false;
    bool told_ = false;
    unsigned long written_ = ~0UL;
    Steady::time_point begin_;
};

}  // namespace

Result<void> supervise(const SupervisorOptions& options) { return Deployment(options).run(); }

}  // namespace berth::cli::up
