// SPDX-License-Identifier: Apache-2.0
// Private to libs/topology: the texts of schemas/topology compiled in.
#pragma once

namespace berth::topology::detail {

extern const char* const kStreamsYaml;
extern const char* const kConsumersYaml;
extern const char* const kUsersYaml;

}  // namespace berth::topology::detail
