// SPDX-License-Identifier: Apache-2.0
// Messages in: each is carried out once, in order within its conversation, and answered where it
// was said. Private to libs/chat.
#pragma once

#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "chat/commands.hpp"
#include "chat/crew.hpp"
#include "chat/parts.hpp"
#include "chat/people.hpp"
#include "chat/refusals.hpp"
#include "chat/store.hpp"

namespace berth::chat {

/// Works off `inbound` while this process leads. One thread chooses, kWorkers carry out, each the
/// messages of one conversation at a time.
class Desk {
public:
    static constexpr std::size_t kWorkers = 4;

    Desk(Parts& parts, People& people, Refusals& refusals, const Traits& traits);
    ~Desk() { stop(); }
    Desk(const Desk&) = delete;
    Desk& operator=(const Desk&) = delete;
    void start();
    void stop();

private:
    using Batch = std::vector<InboundRow>;
    void choose();
    void work(const Batch& batch);
    /// False: it has to be tried again later, and what follows it waits.
    bool take(const InboundRow& row);
    Result<Answer> carry_out(const InboundRow& row, const Speaker& speaker);
    Result<Answer> command(const InboundRow& row, const Speaker& speaker, const std::string& text);
    /// `hash`: of the button whose comment was asked for.
    Result<Answer> reason(const InboundRow& row, const Speaker& speaker, const std::string& hash);
    /// False, too, where warden cannot be asked.
    bool is_over(const std::string& approval, const Speaker& speaker);
    /// Said longer ago than `limit`, and without effect so far.
    bool is_late(const InboundRow& row, milliseconds limit) const;
    Result<Answer> click(
        const InboundRow& row,
        const Speaker& speaker,
        const std::string& hash,
        const std::string& comment,
        bool commented
    );
    Result<Answer> carry_out(
        const InboundRow& row, const Speaker& speaker, const Verb& verb, const std::string& rest
    );
    Answer refusal(const InboundRow& row, const Speaker& speaker);
    /// Somebody who is not known: told `words` once an hour for each `what`.
    Answer hourly(
        const InboundRow& row,
        const Speaker& speaker,
        const std::string& what,
        const std::string& words
    );
    Result<bool> store(const InboundRow& row, const Answer& answer);
    std::vector<OutboundRow> replies(const InboundRow& row, const Content& content, bool only_for);

    Parts& parts_;
    People& people_;
    Refusals& refusals_;
    const Traits& traits_;
    std::mutex mutex_;
    std::set<std::string> busy_;  // by mutex_: conversations
    Crew<Batch> crew_;
};

}  // namespace berth::chat
