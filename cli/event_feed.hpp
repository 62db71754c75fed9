// SPDX-License-Identifier: Apache-2.0
// The org's events as they come from the gateway, over as many connections as it takes.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::cli {

class Api;

/// Reads Server-Sent Events and keeps the place: the id of the last event that was taken whole.
class EventFeed {
public:
    /// Takes the data of an event; false where no more is wanted.
    using Take = std::function<bool(std::string_view data)>;
    explicit EventFeed(Take take) : take_(std::move(take)) {}

    /// False when `take` was.
    bool feed(std::string_view chunk);
    /// The connection is gone, and what was not whole with it.
    void cut();
    bool wanted() const { return wanted_; }
    /// None before the gateway has told one. Any thread; one that is being taken is waited for, for
    /// 200 ms at most.
    std::optional<std::uint64_t> last() const;
    /// Why the gateway ended the stream, a Problem's JSON; empty where it did not say.
    const std::string& problem() const { return problem_; }

private:
    bool line(std::string_view text);
    const Take take_;
    std::string pending_;
    std::string data_;  ///< each line ends with a newline
    std::string id_;
    bool is_problem_ = false;
    std::string problem_;
    bool wanted_ = true;
    std::atomic<std::int64_t> last_{-1};
    std::atomic<bool> taking_{false};
};

struct Following {
    std::string subject;  ///< empty: all
    std::string from;     ///< empty: new ones
    bool stored_only = false;
    std::function<void(const std::string&)> say;  ///< what a person should know
    std::function<void(milliseconds)> pause;      ///< between attempts
};

/// Until the feed wants no more, the gateway refuses or takes the stream away, or (stored_only)
/// nothing more is stored. A connection that was there and is lost is made anew behind the last
/// event.
Result<void> follow(Api& api, EventFeed& feed, const Following& wanted);

}  // namespace berth::cli
