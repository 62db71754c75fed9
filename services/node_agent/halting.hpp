// SPDX-License-Identifier: Apache-2.0
// Carries halts out on this machine: what they cover stands still, then dies, and warden is told.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "node_agent/node_context.hpp"
#include "node_agent/run.hpp"

namespace berth::node {

/// Lives on the loop's thread. A halt is carried out once per node agent; a repetition finds
/// nothing that runs, and warden keeps the first answer.
class Halting : public std::enable_shared_from_this<Halting> {
public:
    using Runs = std::map<std::string, std::shared_ptr<Run>>;
    Halting(NodeContext context, const Runs& runs) : context_(context), runs_(runs) {}

    /// The halts in force may have changed.
    void look();
    /// How trees of this machine are made to stand still.
    static std::string mechanism(const Settings& settings);

private:
    using Time = std::chrono::steady_clock::time_point;
    struct Work {
        warden::v1::Halt halt;
        std::set<std::string> runs;
        Time begun;
        milliseconds still_after{};
        Time freeze_until;  ///< then those are killed that do not stand still, too
        Time end_until;
        unsigned frozen = 0;
        std::string mechanism = "none";
        bool killing = false;
    };
    void begin(const warden::v1::Halt& halt);
    void go_on(const std::string& id);
    void answer(Work& work);

    NodeContext context_;
    const Runs& runs_;
    std::set<std::string> begun_;
    std::map<std::string, Work> works_;
};

}  // namespace berth::node
