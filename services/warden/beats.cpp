// SPDX-License-Identifier: Apache-2.0
// By the clock and at once.
#include "warden/beats.hpp"

#include "core/text.hpp"
#include "log/log.hpp"
#include "warden/settings.hpp"

namespace berth::warden {

Beats::Beats(WardenHandlers& handlers, Presences& presences, service::Runtime& runtime)
    : handlers_(handlers), presences_(presences), runtime_(runtime) {
    said_ = runtime.metrics().counter("berth_warden_beats_total", "Beats said, of every org.");
}

Result<void> Beats::start() {
    BERTH_ASSIGN(
        receiver_,
        runtime_.bus().subscribe(
            "berth.evt.*.warden.>",
            [this](bus::Message message) {
                const auto tokens = split(message.subject, '.');
                // Approvals change no beat; a machine's answer to a halt neither.
                if (tokens.size() < 6 || tokens[4] == "approval" || tokens[5] == "confirmed")
                    return;
                {
                    const std::lock_guard lock(mutex_);
                    orgs_.emplace(tokens[2]);
                }
                changed_.notify_all();
            }
        )
    );
    thread_ = std::thread([this] { run(); });
    return {};
}

void Beats::stop() {
    receiver_.reset();
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void Beats::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return stopping_ || !orgs_.empty(); });
        if (stopping_) return;
        const std::set<std::string> due = std::exchange(orgs_, {});
        lock.unlock();
        for (const std::string& org : due) {
            // The clock says it again within two seconds.
            if (const auto said = say(org); !said)
                log::warning(
                    "a beat could not be said at once", {{"org", org}, {"error", said.error()}}
                );
        }
        lock.lock();
    }
}

Result<void> Beats::say(const std::string& org) {
    BERTH_ASSIGN(const v1::Beat beat, handlers_.beat(org, Clock::system().now()));
    BERTH_TRY(runtime_.bus().publish_plain("berth.warden." + org, beat.SerializeAsString()));
    said_.add();
    return {};
}

Result<void> Beats::look(std::int64_t) {
    std::set<std::string> all = presences_.orgs();
    BERTH_ASSIGN(const auto known, repo::orgs(runtime_.pool()));
    for (const Org& org : known) all.insert(org.org);
    for (const std::string& org : all) BERTH_TRY(say(org));
    return {};
}

}  // namespace berth::warden
