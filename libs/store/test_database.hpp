// SPDX-License-Identifier: Apache-2.0
// One PostgreSQL for the whole test program, a fresh schema for each test.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "store/postgres.hpp"
#include "support/postgres/postgres_server.hpp"

namespace berth::store::test {

/// The program's server, started at first use from the main thread.
berth::testing::PostgresServer& server();

/// Settings for a new schema of its own, with the inbox, the outbox and the fence table in it.
PoolSettings fresh_schema();
/// The same without any table, and without the schema.
PoolSettings empty_schema();

/// Runs `body(i)` on `count` threads at once and joins them.
void in_parallel(int count, const std::function<void(int)>& body);

/// Polls what no event tells (the state of the database); false after `limit`.
bool eventually(const std::function<bool()>& done, milliseconds limit = milliseconds{8000});

}  // namespace berth::store::test
