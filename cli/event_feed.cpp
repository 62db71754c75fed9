// SPDX-License-Identifier: Apache-2.0
// Server-Sent Events by their lines, and the connection made anew.
#include "cli/event_feed.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <thread>

#include "cli/api.hpp"
#include "core/json.hpp"
#include "net/http_types.hpp"

namespace berth::cli {
namespace {

constexpr milliseconds kFirstPause{1'000};
constexpr milliseconds kLongestPause{30'000};
constexpr milliseconds kLook{10};
constexpr int kLooks = 20;

/// Such an end is no answer to what was asked.
bool passes(const Error& error) {
    return error.fault == Fault::kUnavailable || error.fault == Fault::kDeadline ||
           error.fault == Fault::kLimit;  // the stream that is gone may still be counted
}

std::string path_to(const Following& wanted, const std::optional<std::uint64_t>& last) {
    std::string path = wanted.stored_only ? "/v1/events?follow=false" : "/v1/events?follow=true";
    if (!wanted.subject.empty()) path += "&subject=" + net::percent_encode(wanted.subject);
    if (last) return path + "&last_event_id=" + std::to_string(*last);
    if (!wanted.from.empty()) path += "&from=" + net::percent_encode(wanted.from);
    return path;
}

}  // namespace

std::optional<std::uint64_t> EventFeed::last() const {
    // Who has just seen an event need not be told it again; a reader that takes nothing holds up
    // nobody.
    for (int look = 0; taking_ && look < kLooks; ++look) std::this_thread::sleep_for(kLook);
    const std::int64_t last = last_;
    if (last < 0) return std::nullopt;
    return static_cast<std::uint64_t>(last);
}

void EventFeed::cut() {
    pending_.clear();
    data_.clear();
    id_.clear();
    is_problem_ = false;
}

bool EventFeed::feed(std::string_view chunk) {
    pending_ += chunk;
    std::size_t begin = 0;
    for (std::size_t end = pending_.find('\n'); wanted_ && end != std::string::npos;
         end = pending_.find('\n', begin)) {
        wanted_ = line(std::string_view(pending_.data() + begin, end - begin));
        begin = end + 1;
    }
    pending_.erase(0, begin);
    return wanted_;
}

bool EventFeed::line(std::string_view text) {
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (text.empty()) {  // the event is whole
        if (is_problem_) {
            problem_ = data_;
            return false;
        }
        taking_ = true;
        const bool more = data_.empty() || take_(data_);
        std::int64_t id = 0;
        if (more && std::from_chars(id_.data(), id_.data() + id_.size(), id).ec == std::errc())
            last_ = id;
        taking_ = false;
        if (!more) return false;
        data_.clear();
        id_.clear();
        return true;
    }
    const std::size_t colon = text.find(':');
    const std::string_view field = text.substr(0, colon);
    std::string_view value = colon == std::string_view::npos ? "" : text.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (field == "data") data_ += std::string(value) + "\n";
    if (field == "id") id_ = value;
    // Berth's own events have dots in their names.
    if (field == "event") is_problem_ = value == "error";
    return true;
}

Result<void> follow(Api& api, EventFeed& feed, const Following& wanted) {
    bool ever = false;
    bool told = false;
    for (milliseconds pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
        bool connected = false;
        const auto done = api.stream(path_to(wanted, feed.last()), [&](std::string_view chunk) {
            if (!connected && told) wanted.say("connected again");
            if (!connected) pause = kFirstPause;
            connected = ever = true;
            told = false;
            return feed.feed(chunk);
        });
        if (!feed.problem().empty()) {
            const auto problem = Json::parse(feed.problem());
            return Api::problem(
                static_cast<int>(problem ? problem->int_or("status", 0) : 0), feed.problem()
            );
        }
        if (!feed.wanted() || (done && wanted.stored_only)) return {};
        if (!done && (!ever || !passes(done.error()))) return done.error();
        feed.cut();
        if (!told) {
            told = true;
            const auto last = feed.last();
            wanted.say(fmt::format(
                "{}; trying again {}",
                done ? "the gateway ended the stream" : done.error().message,
                last ? fmt::format("from sequence {}", *last + 1)
                     : "(this gateway does not tell where: what happens meanwhile is not seen)"
            ));
        }
        wanted.pause(pause);
    }
}

}  // namespace berth::cli
