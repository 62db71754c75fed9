// SPDX-License-Identifier: Apache-2.0
// What chat bridges ask the gateway: who somebody is, and to become somebody by a code.
#pragma once

#include <string>
#include <string_view>

#include "service/handlers.hpp"
#include "store/postgres.hpp"

namespace berth::gateway {

/// Wires berth.qry.gateway.person and berth.cmd.gateway.link_person. `pool` must outlive
/// `handlers`.
void bind_chat(service::Handlers& handlers, store::Pool& pool);

/// A code as people type it, in the one form that is hashed: upper case, without spaces and dashes,
/// the letters that look like digits as those.
std::string plain_code(std::string_view typed);

}  // namespace berth::gateway
