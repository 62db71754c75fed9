// SPDX-License-Identifier: Apache-2.0
// harden.sh as it was at build time.
#pragma once

#include <string_view>

namespace berth::cli {

std::string_view harden_script();

}  // namespace berth::cli
