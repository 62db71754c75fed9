// SPDX-License-Identifier: Apache-2.0
// Whom a bridge turned away, as warden's audit is told. Private to libs/chat.
#pragma once

#include <string>

#include "berth/warden/v1/warden.pb.h"
#include "chat/parts.hpp"
#include "chat/store.hpp"
#include "service/refusal_count.hpp"

namespace berth::chat {

/// Thread-safe.
class Refusals {
public:
    explicit Refusals(Parts& parts) : parts_(parts) {}

    /// With the transaction that says the message is done: once for each message. `org` is empty
    /// for a chat that is nobody's here: every org of the bridge is told. Clicks are recorded one
    /// by one, words once an hour for each person.
    Result<void> person(
        store::Transaction& tx,
        const InboundRow& row,
        const std::string& org,
        const std::string& reason
    );
    /// A request that is not the platform's, and why; see service::RefusalCount. Waits for the
    /// database; where that is away the request is counted, and refused all the same.
    void request(const WebRequest& request, const std::string& reason);
    /// Records what was counted and is due; to be called every few seconds.
    void tell_counted();
    /// Records all that was counted, at a stop: once requests have ended.
    void tell_rest();

private:
    /// In one transaction; what fails is counted again.
    void record(const std::vector<service::RefusalCount::Counted>& all);
    Result<void> tell(
        store::Transaction& tx,
        const std::string& cause,
        const std::string& org,
        warden::v1::Refused refused
    );

    Parts& parts_;
    service::RefusalCount requests_;
};

}  // namespace berth::chat
