// SPDX-License-Identifier: Apache-2.0
// Request and reply over JetStream: the command is stored before it is answered, the reply before
// it is heard.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "bus/connection.hpp"

namespace berth::bus {

/// A command or query to ask.
struct Ask {
    std::string
        subject;  ///< berth.cmd.<service>.<verb>…, berth.qry.…, berth.cmd.node.<machine>.<verb>
    std::string type;  ///< protobuf full name, for ce-type
    std::string payload;
    std::string command_id;  ///< a ULID; empty: a new one. The idempotency key at the owner.
    std::string correlation_id;
    milliseconds timeout{10'000};
};

/// What came back. A reply that says no is an Error, not an Answer.
struct Answer {
    std::string type;
    std::string payload;
};

struct AskerSettings {
    std::string token;     ///< the asking service's: "gateway"
    std::string instance;  ///< this process's: a subject token
    /// A command whose reply does not come is asked again after this, with the same command id and
    /// a new attempt; the owner then repeats the stored outcome. Doubles each time.
    milliseconds reask_after{2'000};
};

/// Thread-safe. Hears replies on `berth.rpl.<token>.<instance>.>` by one plain subscription and
/// refuses a reply whose replier is not whom it asked (the subject's token; for a node also its
/// machine). Several asks with one command id at once are fine: each gets the reply to its own
/// attempt.
class Asker {
public:
    using Done = std::function<void(Result<Answer>)>;

    static Result<std::unique_ptr<Asker>> create(Connection& connection, AskerSettings settings);
    virtual ~Asker() = default;

    /// `done` is called exactly once, on a bus thread: with the answer, with the owner's refusal,
    /// or with Fault::kDeadline / kUnavailable. At most 65,536 asks may be open; more fail with
    /// Fault::kLimit.
    virtual void ask(Ask ask, Done done) = 0;
    /// The same, waiting in the caller's thread (never a bus thread of a plain subscription).
    Result<Answer> ask_wait(Ask ask);
};

/// The subject a replier publishes to, from the command's ce-replyto
/// ("berth.rpl.<asker>.<instance>").
std::string reply_subject(
    std::string_view reply_to,
    std::string_view replier,
    std::string_view replier_instance,
    std::string_view command_id
);

}  // namespace berth::bus
