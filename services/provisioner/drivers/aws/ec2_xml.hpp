// SPDX-License-Identifier: Apache-2.0
// EC2's answers (API version 2016-11-15) as values. Strict: an answer that is cut short, has
// another root or lacks what it must hold is an error and never an empty list.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace berth::prov::aws {

/// Of an answer: the largest page asked for is far below a megabyte.
inline constexpr std::size_t kMaxAnswer = 8U << 20U;

using Tags = std::map<std::string, std::string>;

struct Instance {
    std::string id;
    std::string state;   ///< pending, running, shutting-down, terminated, stopping, stopped
    std::string reason;  ///< of the last change: "Server.SpotInstanceTermination"
    std::string reason_text;
    std::string type;
    std::string client_token;
    std::string launched;  ///< RFC 3339: texts compare as times do
    Tags tags;
};
struct Key {
    std::string id;
    std::string name;
    Tags tags;
};
struct Group {
    std::string id;
    std::string name;
    std::string vpc;
    Tags tags;
};
struct Volume {
    std::string id;
    std::string state;  ///< creating, available, in-use, deleting, deleted, error
    Tags tags;
};
struct Device {
    std::string name;  ///< "/dev/sda1"
    int gib = 0;       ///< 0: not said
};
struct Image {
    std::string id;
    std::string state;    ///< available, pending, …
    std::string created;  ///< RFC 3339
    std::string root_device;
    std::vector<Device> devices;  ///< those backed by EBS
};
struct Vpc {
    std::string id;
};

template <typename T>
struct Page {
    std::vector<T> items;
    std::string next_token;  ///< empty: the last one
};

/// Errors: "bad_answer", kUnavailable.
Result<Page<Instance>> parse_instances(std::string_view body);
Result<Page<Key>> parse_keys(std::string_view body);
Result<Page<Group>> parse_groups(std::string_view body);
Result<Page<Volume>> parse_volumes(std::string_view body);
Result<Page<Image>> parse_images(std::string_view body);
Result<Page<Vpc>> parse_vpcs(std::string_view body);
/// The one instance of RunInstances.
Result<Instance> parse_run(std::string_view body);
/// The id that CreateSecurityGroup gave.
Result<std::string> parse_new_group(std::string_view body);
/// An answer of `action` whose content says no more than that it was done.
Result<void> parse_done(std::string_view body, std::string_view action);

struct ApiError {
    std::string code;
    std::string message;
};
/// What an answer other than 200 says, if it is EC2's.
std::optional<ApiError> parse_error(std::string_view body);

}  // namespace berth::prov::aws
