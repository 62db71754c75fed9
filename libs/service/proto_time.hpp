// SPDX-License-Identifier: Apache-2.0
// Wall time and durations to and from protobuf's own types.
#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include "core/time.hpp"

namespace berth::service {

inline google::protobuf::Timestamp to_timestamp(WallTime time) {
    google::protobuf::Timestamp out;
    const long long micros = to_unix_micros(time);
    out.set_seconds(micros / 1'000'000);
    out.set_nanos(static_cast<std::int32_t>(micros % 1'000'000) * 1'000);
    return out;
}
inline WallTime to_wall_time(const google::protobuf::Timestamp& time) {
    return from_unix_micros(time.seconds() * 1'000'000 + time.nanos() / 1'000);
}
inline google::protobuf::Duration to_duration(milliseconds duration) {
    google::protobuf::Duration out;
    out.set_seconds(duration.count() / 1'000);
    out.set_nanos(static_cast<std::int32_t>(duration.count() % 1'000) * 1'000'000);
    return out;
}
inline milliseconds to_milliseconds(const google::protobuf::Duration& duration) {
    return milliseconds{duration.seconds() * 1'000 + duration.nanos() / 1'000'000};
}

}  // namespace berth::service
