// SPDX-License-Identifier: Apache-2.0
// Streams, durable consumers and users as schemas/topology states them (its README.md explains the
// keys).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::topology {

inline constexpr std::int64_t kUnlimited = -1;

struct Stream {
    std::string name;
    std::string why;
    std::vector<std::string> subjects;
    bool work_queue = false;  ///< else limits
    bool memory = false;      ///< else file
    bool discard_new = false;
    bool discard_new_per_subject = false;
    bool deny_delete = false;
    bool deny_purge = false;
    milliseconds max_age{0};  ///< 0: none
    std::int64_t max_bytes = kUnlimited;
    std::int64_t max_msgs_per_subject = kUnlimited;
    milliseconds duplicate_window{0};
};

struct Consumer {
    std::string stream;
    std::string durable;
    std::string filter;
    milliseconds ack_wait{0};
    std::int64_t max_ack_pending = 0;
};

/// Rights as written, with placeholders.
struct User {
    std::string name;
    std::vector<std::string> publish;
    std::vector<std::string> subscribe;
    std::vector<std::string> consumes;  ///< "<STREAM>/<durable>"
    std::vector<std::string> reads;     ///< streams, here and below
    std::vector<std::string> infos;
    std::vector<std::string> purges;
    std::vector<std::string> manages;
    std::vector<std::string> keeps;
    bool admin = false;
    milliseconds lifetime{0};  ///< 0: does not expire
};

struct Topology {
    std::vector<Stream> streams;
    std::vector<Consumer> consumers;
    std::vector<Consumer> consumer_templates;  ///< made per machine or reader
    std::vector<User> users;                   ///< `everyone` is merged in
    std::vector<User> user_templates;          ///< likewise

    /// nullptr when there is none.
    const Stream* stream(std::string_view name) const;
    const User* user(std::string_view name) const;
    const User* user_template(std::string_view name) const;
};

/// Reads streams.yaml, consumers.yaml and users.yaml of a folder. Error code "bad_setting" or
/// "bad_yaml" names file, line and every mistake: unknown keys, wrong values, names that do not
/// exist, a filter outside its stream, rights below "$".
Result<Topology> load(const std::filesystem::path& folder);

/// The same from texts.
Result<Topology> parse(
    std::string_view streams, std::string_view consumers, std::string_view users
);

/// The topology this program was built with. Thread-safe.
const Topology& builtin();

}  // namespace berth::topology
