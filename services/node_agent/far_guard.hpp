// SPDX-License-Identifier: Apache-2.0
// The supervisor's end of a guard that runs beside the commands in a container: passes words on.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "core/fd.hpp"
#include "identity/sha256.hpp"
#include "node_agent/guarding.hpp"
#include "node_agent/run_files.hpp"

namespace berth::node {

/// Who traces has to stand where the commands are, and may hold nothing but their lives: the guard
/// inside (beside_guard.hpp) judges, and its files lie in the folder that is shared with the
/// container. The output's sum and the run's last entry are the supervisor's own.
class FarGuard final : public Guarding {
public:
    FarGuard(const Launch& launch, GuardHost& host);

    std::uint32_t init_flags() const override;
    int descriptor() const override { return waiting_ ? -1 : words_.get(); }
    void on_input() override;
    Result<void> prepare() override;
    int for_init() const override { return theirs_.get(); }
    void handed_over() override { theirs_.reset(); }
    Result<void> seize(pid_t pid) override;
    bool on_word(const RunWord& word) override;
    void greet() override { send({Word::kGreet, 0, 0, 0, 0, {}}); }
    void tell() override;
    std::optional<Time> next_timer() const override;
    void on_timers() override { tell(); }
    void on_output(std::string_view bytes) override { output_.update(bytes); }
    void finish(int exit_code) override;

private:
    struct Copy {
        RunWord word;
        std::string data;
    };
    void send(const RunWord& word);

    const Launch::Guard guard_;
    policy::Level level_;
    GuardHost& host_;
    Fd words_;
    Fd theirs_;
    std::optional<Copy> waiting_;  ///< for the node agent, whose socket was full
    identity::Sha256 output_;
    char buffer_[kWordBytes];
};

}  // namespace berth::node
