// SPDX-License-Identifier: Apache-2.0
// The plan step by step: each command is asked with one key until its outcome is heard.
#include "client.hpp"

#include "service/handlers.hpp"

namespace berth::sim {
namespace {

constexpr milliseconds kAskTimeout{30'000};
constexpr milliseconds kClientPoll{500};

}  // namespace

Client::Client(
    World& world, Bus& bus, const Broker& broker, const Runs& runs, std::string name, Plan plan
)
    : Participant(world, bus, name),
      broker_(broker),
      service_(runs),
      plan_(std::move(plan)),
      asker_(world, bus, name) {}

void Client::next(Stage stage) {
    stage_ = stage;
    step("of a client", [this] { go_on(); });
}

void Client::go_on() {
    if (!jobs_.empty() && !jobs_.back().outcome) {
        world_.count("a client asks again after its restart");
        return ask_current();
    }
    switch (stage_) {
        case Stage::kAcquire:
            return ask("CMD_LEASE", "acquire", plan_.acquire_key, plan_.digest, plan_.wish);
        case Stage::kActive: return look_at_lease();
        case Stage::kStart: {
            if (run_ == plan_.runs.size()) return next(Stage::kCancel);
            Body body = plan_.runs[run_];
            body.lease = lease_;
            return ask("CMD_RUN", "start", name() + "/run" + std::to_string(run_), name(), body);
        }
        case Stage::kCancel: {
            if (!plan_.cancels || started_.empty()) return next(Stage::kWait);
            return after(plan_.patience, [this] {
                Body body;
                body.run = started_.front();
                ask("CMD_RUN", "cancel", name() + "/cancel", name(), body);
            });
        }
        case Stage::kWait: return plan_.waits ? look_at_runs() : next(Stage::kRelease);
        case Stage::kRelease: {
            if (!plan_.releases) return next(Stage::kDone);
            Body body;
            body.lease = lease_;
            return ask("CMD_LEASE", "release", name() + "/release", name(), body);
        }
        case Stage::kDone: return;
    }
}

void Client::ask(
    std::string stream, std::string verb, std::string key, std::string digest, Body body
) {
    Message message;
    message.stream = std::move(stream);
    message.verb = std::move(verb);
    message.id = service::child_command_id(key, "client");
    message.digest = std::move(digest);
    message.body = std::move(body);
    jobs_.push_back({std::move(message), std::nullopt});
    step("of a client between its note and its question", [this] { ask_current(); });
}

void Client::ask_current() {
    asker_.ask(jobs_.back().message, kAskTimeout, [this](Result<Body> result) {
        if (!up()) return;
        if (!result && result.error().code == "no_answer") {
            world_.count("a client asks anew after silence");
            return ask_current();
        }
        answered(std::move(result));
    });
}

void Client::answered(Result<Body> outcome) {
    jobs_.back().outcome = outcome;
    tell(
        jobs_.back().message.verb + " -> " +
        (outcome ? "ok " + outcome->lease + outcome->run : outcome.error().code)
    );
    switch (stage_) {
        case Stage::kAcquire:
            if (!outcome) return next(Stage::kDone);
            lease_ = outcome->lease;
            return next(Stage::kActive);
        case Stage::kStart:
            if (outcome) started_.push_back(outcome->run);
            ++run_;
            return next(Stage::kStart);
        case Stage::kCancel: return next(Stage::kWait);
        default: return next(Stage::kDone);
    }
}

void Client::look_at_lease() {
    const auto lease = broker_.get(lease_);
    if (lease && lease->state == lease::LeaseState::LEASE_STATE_ACTIVE) return next(Stage::kStart);
    if (lease && !lease->live()) return next(Stage::kDone);
    after(kClientPoll, [this] { look_at_lease(); });
}

void Client::look_at_runs() {
    for (const std::string& run : started_) {
        const auto seen = service_.get(run);
        if (!seen || seen->live()) return after(kClientPoll, [this] { look_at_runs(); });
    }
    next(Stage::kRelease);
}

}  // namespace berth::sim
