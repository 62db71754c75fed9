// SPDX-License-Identifier: Apache-2.0
// A person or a program with a plan: acquire, run, cancel, release; it may be slow, restart, or
// never come back.
#pragma once

#include "actors.hpp"

namespace berth::sim {

struct Plan {
    std::string acquire_key;
    std::string digest;  // of the acquire; other than a sharer's: a conflict
    Body wish;           // of the lease
    std::vector<Body> runs;
    bool cancels = false;     // its first run
    milliseconds patience{};  // from start to cancel
    bool waits = false;       // for its runs to end
    bool releases = false;
};

class Client final : public Participant {
public:
    struct Job {
        Message message;
        std::optional<Result<Body>> outcome;
    };
    Client(
        World& world, Bus& bus, const Broker& broker, const Runs& runs, std::string name, Plan plan
    );
    /// Everything it ever asked; durable, as a careful client keeps its keys.
    const std::vector<Job>& jobs() const { return jobs_; }
    const Plan& plan() const { return plan_; }
    const std::string& lease() const { return lease_; }
    void lose() {
        lost_ = true;
        die();
    }
    bool lost() const { return lost_; }

private:
    enum class Stage { kAcquire, kActive, kStart, kCancel, kWait, kRelease, kDone };
    void on_start() override { go_on(); }
    void on_crash() override { asker_.reset(); }
    void go_on();
    void ask(std::string stream, std::string verb, std::string key, std::string digest, Body body);
    void ask_current();
    void answered(Result<Body> outcome);
    void next(Stage stage);
    void look_at_lease();
    void look_at_runs();

    const Broker& broker_;
    const Runs& service_;
    const Plan plan_;
    Asker asker_;
    Stage stage_ = Stage::kAcquire;  // durable, like the rest
    std::vector<Job> jobs_;
    std::string lease_;
    std::vector<std::string> started_;
    std::size_t run_ = 0;
    bool lost_ = false;
};

}  // namespace berth::sim
