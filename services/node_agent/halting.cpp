// SPDX-License-Identifier: Apache-2.0
// Freeze all, then kill all, then answer.
#include "node_agent/halting.hpp"

#include "log/log.hpp"
#include "node_agent/warden_link.hpp"
#include "service/proto_time.hpp"

namespace berth::node {
namespace {

constexpr milliseconds kLook{2};
constexpr milliseconds kFreezePatience{300};  // a third of what a halt may take
constexpr milliseconds kEndPatience{10'000};  // then the answer says what still runs

/// Some process of it may be left.
bool is_live(Run& run) { return run.live() && !run.guard().tree_gone(); }

}  // namespace

std::string Halting::mechanism(const Settings& settings) {
    const bool traced =
        settings.guard == policy::Level::kEnforce || settings.guard == policy::Level::kObserve;
    return traced ? "ptrace" : "stop";
}

void Halting::look() {
    std::set<std::string> in_force;
    for (const auto& halt : context_.warden.halts()) {
        in_force.insert(halt.id());
        if (begun_.insert(halt.id()).second) begin(halt);
    }
    std::erase_if(begun_, [&](const std::string& id) { return !in_force.contains(id); });
}

void Halting::begin(const warden::v1::Halt& halt) {
    if (halt.scope() == warden::v1::HALT_SCOPE_MACHINE &&
        halt.target() != context_.settings.machine)
        return;
    log::warning("halted", {{"halt", halt.id()}, {"by", halt.pressed_by()}});
    Work work;
    work.halt = halt;
    for (const auto& [id, run] : runs_) {
        if (run->live() && context_.warden.covers(halt, run->spec())) work.runs.insert(id);
    }
    const auto now = std::chrono::steady_clock::now();
    work.begun = now;
    work.freeze_until = now + kFreezePatience;
    work.end_until = now + kEndPatience;
    works_[halt.id()] = std::move(work);
    go_on(halt.id());
}

void Halting::go_on(const std::string& id) {
    const auto found = works_.find(id);
    if (found == works_.end()) return;
    Work& work = found->second;
    const auto now = std::chrono::steady_clock::now();
    unsigned live = 0;
    unsigned still = 0;
    for (const auto& name : work.runs) {
        const auto run = runs_.find(name);
        if (run == runs_.end() || !is_live(*run->second)) continue;
        ++live;
        if (!run->second->stand_still(id)) continue;
        ++still;
        work.mechanism = run->second->guard().frozen();
    }
    if (!work.killing && (still == live || now >= work.freeze_until)) {
        work.killing = true;
        work.frozen = still;
        work.still_after = std::chrono::duration_cast<milliseconds>(now - work.begun);
    }
    if (work.killing) {
        for (const auto& name : work.runs) {
            const auto run = runs_.find(name);
            if (run != runs_.end() && run->second->live()) run->second->end_halted();
        }
    }
    if (live == 0 || now >= work.end_until) {
        answer(work);
        works_.erase(found);
        return;
    }
    context_.loop.after(kLook, [weak = weak_from_this(), id] {
        if (const auto self = weak.lock()) self->go_on(id);
    });
}

void Halting::answer(Work& work) {
    warden::v1::Halted told;
    told.set_halt(work.halt.id());
    auto& answer = *told.mutable_answer();
    answer.set_machine(context_.settings.machine);
    answer.set_mechanism(work.mechanism);
    answer.set_frozen(work.frozen);
    unsigned left = 0;
    for (const auto& name : work.runs) {
        const auto run = runs_.find(name);
        if (run != runs_.end() && is_live(*run->second)) ++left;
    }
    answer.set_killed(static_cast<unsigned>(work.runs.size()) - left);
    if (left > 0) answer.set_error(std::to_string(left) + " of its runs do not end");
    log::info(
        "a halt is carried out",
        {{"halt", work.halt.id()},
         {"runs", work.runs.size()},
         {"frozen_after", work.still_after},
         {"ended_after",
          std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - work.begun)}}
    );
    *answer.mutable_at() = service::to_timestamp(Clock::system().now());
    context_.warden.ask_surely(
        "halted",
        told,
        WardenLink::command_id("halted/" + work.halt.id() + "/" + context_.settings.machine),
        weak_from_this(),
        [id = work.halt.id()](const Result<std::string>& done) {
            if (!done)
                log::warning("a halt is not confirmed", {{"halt", id}, {"error", done.error()}});
        }
    );
}

}  // namespace berth::node
