// SPDX-License-Identifier: Apache-2.0
// One poll over pidfds and log pipes. A part that ends is started again after 0.1 s, doubling to 5
// s; one that stayed up for a while begins anew at 0.1 s. It is never given up.
#include "cli/up/children.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "cli/words.hpp"
#include "core/text.hpp"

namespace berth::cli::up {
namespace {

constexpr milliseconds kFirstBackoff{100};
constexpr milliseconds kLastBackoff{5'000};
// Up for as long, and the next failure is a new story.
constexpr milliseconds kSettled{30'000};
constexpr milliseconds kReadyEvery{10};  // while starting: what the user waits for
constexpr milliseconds kHealthEvery{1'000};
constexpr std::size_t kLastWords = 200;

using Steady = std::chrono::steady_clock;

}  // namespace

std::string_view to_string(PartState state) {
    switch (state) {
        case PartState::kWaiting: return "waiting";
        case PartState::kStarting: return "starting";
        case PartState::kReady: return "ready";
        case PartState::kFailed: return "failed";
        case PartState::kStopped: return "stopped";
    }
    return "failed";
}

struct Children::Part {
    explicit Part(PartSpec given) : spec(std::move(given)), log(spec.log) {}
    PartSpec spec;
    LogFile log;
    process::Child child;
    Fd output;
    PartState state = PartState::kWaiting;
    std::string reason = "not started yet";
    int restarts = 0;
    bool spoke = false;  // since its last start
    milliseconds backoff = kFirstBackoff;
    Steady::time_point started;
    Steady::time_point next;  // of a start or of a look

    bool runs() const { return state == PartState::kStarting || state == PartState::kReady; }

    void drain() {
        std::array<char, 16384> buffer;
        for (;;) {
            const auto count = output ? ::read(output.get(), buffer.data(), buffer.size()) : 0;
            if (count > 0) {
                log.append({buffer.data(), static_cast<std::size_t>(count)});
                spoke = true;
                continue;
            }
            if (count == 0) output.reset();
            return;
        }
    }
};

Children::Children() = default;
Children::~Children() {
    for (auto& part : parts_) {
        if (part->runs()) part->child.kill();
    }
}

void Children::add(PartSpec spec) { parts_.push_back(std::make_unique<Part>(std::move(spec))); }

Children::Part* Children::find(const std::string& name) {
    for (auto& part : parts_) {
        if (part->spec.name == name) return part.get();
    }
    return nullptr;
}

void Children::set(Part& part, PartState state, std::string reason) {
    if (part.state == state && part.reason == reason) return;
    part.state = state;
    part.reason = std::move(reason);
    ++changes_;
}

void Children::launch(Part& part) {
    part.started = Steady::now();
    part.spoke = false;
    const auto failed = [&](const Error& error) {
        part.log.append(
            fmt::format("berth: {} could not be started: {}\n", part.spec.name, error.message)
        );
        set(part, PartState::kFailed, error.message);
        part.next = Steady::now() + part.backoff;
        part.backoff = std::min(part.backoff * 2, kLastBackoff);
    };
    auto pipe = process::make_pipe();
    if (!pipe) return failed(pipe.error());
    ::fcntl(pipe->read.get(), F_SETFL, O_NONBLOCK);
    auto spec = part.spec.make();
    if (!spec) return failed(spec.error());
    spec->stdin_fd = process::kNull;
    spec->stdout_fd = pipe->write.get();
    spec->stderr_fd = pipe->write.get();
    spec->new_group = true;  // Ctrl-C is for us; we stop the parts in order
    spec->death_signal = part.spec.death_signal;
    auto child = process::spawn(*spec);
    if (!child) return failed(child.error());
    part.child = std::move(child).value();
    part.output = std::move(pipe->read);
    part.next = Steady::now();
    set(part, PartState::kStarting, "starting");
    ++changes_;  // the pid
}

void Children::start(const std::vector<std::string>& names) {
    for (const auto& name : names) {
        if (Part* part = find(name); part != nullptr && part->state == PartState::kWaiting)
            launch(*part);
    }
}

void Children::ended(Part& part, const process::ExitStatus& status) {
    part.drain();
    if (Steady::now() - part.started > kSettled) part.backoff = kFirstBackoff;
    std::string how = fmt::format("killed by signal {}", status.signal);
    if (status.signal == 0) {
        how = fmt::format("ended with {}", status.code);
        // A service's last words say why; a line of its log in JSON does not.
        const std::string last = part.spoke ? last_lines(part.spec.log, 1) : std::string();
        if (status.code != 0 && !last.empty() && last[0] != '{')
            how += ": " + clipped(printable(last), kLastWords);
    }
    ++part.restarts;
    set(part,
        PartState::kFailed,
        fmt::format(
            "{}; started again in {}, restart {}", how, format_duration(part.backoff), part.restarts
        ));
    part.next = Steady::now() + part.backoff;
    part.backoff = std::min(part.backoff * 2, kLastBackoff);
}

void Children::look_after(Part& part) {
    part.drain();
    if (part.runs()) {
        if (const auto status = part.child.poll()) return ended(part, *status);
        if (Steady::now() < part.next) return;
        std::string reason = part.spec.not_ready(part.child.pid());
        const bool ready = reason.empty();
        set(part,
            ready                             ? PartState::kReady
            : part.state == PartState::kReady ? PartState::kReady
                                              : PartState::kStarting,
            std::move(reason));
        part.next = Steady::now() +
                    (part.state == PartState::kReady && ready
                         ? kHealthEvery
                         : kReadyEvery * (Steady::now() - part.started > kSettled ? 50 : 1));
    } else if (part.state == PartState::kFailed && Steady::now() >= part.next) {
        launch(part);
    }
}

void Children::tend(milliseconds patience, int extra_fd) {
    std::vector<pollfd> polled;
    if (extra_fd >= 0) polled.push_back({extra_fd, POLLIN, 0});
    const auto now = Steady::now();
    for (auto& part : parts_) {
        if (part->output) polled.push_back({part->output.get(), POLLIN, 0});
        if (part->runs()) polled.push_back({part->child.pidfd(), POLLIN, 0});
        if (part->runs() || part->state == PartState::kFailed) {
            const auto wait = std::chrono::ceil<milliseconds>(part->next - now);
            patience = std::clamp(wait, milliseconds{0}, patience);
        }
    }
    ::poll(polled.data(), polled.size(), static_cast<int>(patience.count()));
    for (auto& part : parts_) look_after(*part);
}

void Children::stop(const std::vector<std::string>& names) {
    std::vector<Part*> stopping;
    for (const auto& name : names) {
        Part* part = find(name);
        if (part == nullptr) continue;
        if (part->runs() && part->child.signal(part->spec.stop_signal)) {
            stopping.push_back(part);
        } else {
            set(*part, PartState::kStopped, "stopped");
        }
    }
    const auto begin = Steady::now();
    while (!stopping.empty()) {
        std::vector<pollfd> polled;
        for (Part* part : stopping) {
            polled.push_back({part->child.pidfd(), POLLIN, 0});
            if (part->output) polled.push_back({part->output.get(), POLLIN, 0});
        }
        ::poll(polled.data(), polled.size(), 100);
        std::erase_if(stopping, [&](Part* part) {
            part->drain();
            bool gone = part->child.poll().has_value();
            if (!gone && Steady::now() - begin > part->spec.stop_grace) {
                part->log.append(fmt::format(
                    "berth: {} did not stop in {} and was killed\n",
                    part->spec.name,
                    format_duration(part->spec.stop_grace)
                ));
                part->child.kill();
                gone = true;
            }
            if (gone) set(*part, PartState::kStopped, "stopped");
            return gone;
        });
    }
}

bool Children::all_ready(const std::vector<std::string>& names) const {
    return std::all_of(names.begin(), names.end(), [&](const std::string& name) {
        return std::any_of(parts_.begin(), parts_.end(), [&](const auto& part) {
            return part->spec.name == name && part->state == PartState::kReady &&
                   part->reason.empty();
        });
    });
}

std::vector<PartView> Children::view() const {
    std::vector<PartView> out;
    for (const auto& part : parts_) {
        out.push_back(
            {part->spec.name,
             part->state,
             part->runs() ? part->child.pid() : 0,
             part->reason,
             part->restarts}
        );
    }
    return out;
}

}  // namespace berth::cli::up
