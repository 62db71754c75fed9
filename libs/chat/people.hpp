// SPDX-License-Identifier: Apache-2.0
// Who speaks: which org it concerns, and which of its users that is. Private to libs/chat.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "berth/common/v1/common.pb.h"
#include "chat/parts.hpp"

namespace berth::chat {

/// What is known of who speaks.
struct Speaker {
    enum class Standing {
        kElsewhere,  ///< the chat is nobody's here: another bridge answers, or nobody does
        kStranger,   ///< not on the list of people
        kUnlinked,   ///< may link themselves to a user, and nothing else
        kDisabled,   ///< linked to a user who is disabled; as kUnlinked
        kKnown,
    };
    Standing standing = Standing::kElsewhere;
    const OrgSettings* org = nullptr;  ///< but for kElsewhere
    common::v1::Actor actor;           ///< kKnown
};

/// Thread-safe.
class People {
public:
    explicit People(Parts& parts) : parts_(parts) {}
    /// An error is an outage of the bus or of the gateway.
    Result<Speaker> who(const Inbound& inbound);
    /// Links the person by a code of `berth chat pair`; the actor from then on. Errors: as the
    /// gateway gives them ("bad_code", "too_many_tries", "identity_taken").
    Result<common::v1::Actor> pair(
        const Inbound& inbound,
        const Speaker& speaker,
        const std::string& code,
        const std::string& command_id
    );

private:
    Result<Speaker> look_up(const OrgSettings& org, const std::string& person);

    Parts& parts_;
    std::mutex mutex_;
    std::map<std::pair<std::string, std::string>, std::pair<SteadyTime, Speaker>>
        known_;  // by mutex_: org and person
};

}  // namespace berth::chat
