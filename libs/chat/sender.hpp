// SPDX-License-Identifier: Apache-2.0
// Messages out: in order within a conversation, at the platform's pace, and never in doubt about
// what a crash left behind. Private to libs/chat.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "chat/crew.hpp"
#include "chat/limiter.hpp"
#include "chat/parts.hpp"
#include "chat/store.hpp"

namespace berth::chat {

/// Sends what `outbound` holds while this process leads. One thread chooses, kSenders call the
/// platform. A row is marked and committed before the platform hears of it, so that after a crash
/// it is known which ones may have gone out: those are asked for (Traits::can_find), or sent once
/// more at most, or, where they are approvals, never again.
class Sender {
public:
    static constexpr std::size_t kSenders = 16;

    Sender(Parts& parts, Platform& platform);
    ~Sender();
    Sender(const Sender&) = delete;
    Sender& operator=(const Sender&) = delete;
    void start();
    /// Waits for calls under way (30 s at most each, the platform's own limit).
    void stop();
    /// Sink::undelivered.
    Result<void> undelivered(const Undelivered& told);

private:
    using Task = std::function<void()>;
    milliseconds choose();
    std::size_t free_senders();
    void give(const OutboundRow& row, Task task);
    bool give_posts();
    bool give_edits();
    void give_doubtful();

    void post(OutboundRow row);
    void edit(OutboundRow row);
    void settle_edit(const OutboundRow& row, const SendError& error);
    /// A change is tried again, as long after it first failed as that is ago.
    void postpone(const OutboundRow& row, const SendError& error, int doubts);
    void resolve(OutboundRow row);
    Result<void> draw_buttons(OutboundRow& row);
    void settle(const OutboundRow& row, const SendResult<Sent>& result);
    void doubt(const OutboundRow& row, const std::string& reason);
    void retry(const OutboundRow& row, const SendError& error, bool plain, int doubts);
    void fail(const OutboundRow& row, const std::string& reason);
    void give_up_edit(const OutboundRow& row, const std::string& reason);
    using Mark = std::function<Result<void>(store::Transaction&)>;
    void bury(
        const OutboundRow& row,
        const std::string& letter_id,
        const std::string& reason,
        const Mark& mark
    );
    void given_up(const OutboundRow& row, const std::string& reason);
    /// The dead letter commits with the row.
    Result<void> write_letter(
        const OutboundRow& row,
        const std::string& letter_id,
        const std::string& reason,
        const Mark& mark
    );
    void expired(const OutboundRow& row);
    void refuse(const std::string& reason);
    /// Until the database takes it, or this stops: then the row stays marked and is resolved later.
    /// False where it was stopped before the database was back.
    bool persist(const std::function<Result<void>()>& write);
    /// Stores what an earlier term could not; false while the database is away.
    bool record_left();
    /// As the platform asked, if it did.
    void pause(const OutboundRow& row, std::string_view route, const SendError& error);
    SendResult<std::optional<Sent>> look_for(const OutboundRow& row);

    Parts& parts_;
    Platform& platform_;
    std::mutex mutex_;
    std::size_t busy_ = 0;  // by mutex_, down to refused_until_
    std::set<std::int64_t> under_way_;
    Limiter limiter_;
    std::optional<Limiter> edit_limiter_;  // where changes have a budget of their own
    Limiter& edits() { return edit_limiter_ ? *edit_limiter_ : limiter_; }
    SteadyTime refused_until_{};  // the credential is refused: no call before
    SteadyTime next_doubt_{};     // the choosing thread's
    std::mutex tokens_mutex_;
    std::map<std::string, std::vector<std::string>>
        tokens_;  // by tokens_mutex_: clear text, by card
    Crew<Task> crew_;
};

}  // namespace berth::chat
