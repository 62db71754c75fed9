// SPDX-License-Identifier: Apache-2.0
// A bridge and what it stands among: NATS with Berth's streams, PostgreSQL, and services that the
// test plays.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "berth/lease/v1/lease.pb.h"
#include "berth/run/v1/run.pb.h"
#include "berth/warden/v1/warden.pb.h"
#include "bus/connection.hpp"
#include "chat/bridge.hpp"
#include "service/runtime.hpp"
#include "support/chat/played_platform.hpp"
#include "support/nats/nats_server.hpp"
#include "support/postgres/postgres_server.hpp"

namespace berth::testing {

/// The program's PostgreSQL, started at first use from the main thread.
PostgresServer& chat_postgres();

/// What the played services know; by its mutex.
struct PlayedBerth {
    std::mutex mutex;
    std::condition_variable changed;                  ///< there is one more of `runs` or `refused`
    std::map<std::string, common::v1::Actor> people;  ///< by person id
    std::set<std::string> disabled;                   ///< persons whose user is
    std::map<std::string, std::string> codes;         ///< pairing codes: code to user
    std::vector<lease::v1::Acquire> acquired;
    std::vector<run::v1::Start> started;
    std::vector<run::v1::Cancel> canceled;
    std::vector<warden::v1::Decide> decided;
    std::vector<warden::v1::Refused> refused;
    int asked = 0;  ///< commands that took effect
    std::map<std::string, run::v1::Run> runs;
    std::map<std::string, warden::v1::Approval> approvals;
};

/// One bridge of token "slack" over a played platform, or another one over its own platform. Throws
/// where something cannot be started.
class BridgeWorld {
public:
    explicit BridgeWorld(const std::string& settings = {});
    /// `read` makes the platform of `settings`, as channels/<token> does; chat() is not used then.
    BridgeWorld(const std::string& settings, const std::string& token, chat::PlatformReader read);
    ~BridgeWorld();
    BridgeWorld(const BridgeWorld&) = delete;
    BridgeWorld& operator=(const BridgeWorld&) = delete;

    PlayedChat& chat() { return chat_; }
    PlayedBerth& berth() { return berth_; }
    NatsServer& nats() { return nats_; }
    store::Pool& pool();
    /// Starts the bridge and waits until it listens; a second one beside it with `more`.
    void start();
    void start_another();
    /// As a stop by SIGTERM.
    void stop();
    std::string not_ready();
    std::string metrics();

    static common::v1::Actor actor(const std::string& user, const std::string& role);
    /// U1 is anna, an operator; U2 is olga, an approver; U3 is nobody.
    void usual_people();

    /// A run's newer state, told as run_manager does.
    void tell(const run::v1::Run& run, const std::string& fact);
    /// An approval's.
    void tell(const warden::v1::Approval& approval, const std::string& fact);
    warden::v1::Approval held(const std::string& id, const std::string& run = {});
    /// One frame of a run's output; `end` closes it.
    void write(const run::v1::Run& run, std::uint64_t offset, const std::string& bytes, bool end);
    /// Runs started so far, the last one; waits for it.
    run::v1::Run wait_for_run(std::size_t count = 1);
    std::vector<bus::Message> dead_letters();

private:
    class Runtime;
    struct Owner;
    void play();
    template <typename Message, typename F>
    void add(service::Handlers& handlers, const char* verb, F handler);
    void publish(const std::string& subject, const std::string& type, const std::string& payload);

    PlayedChat chat_;
    PlayedBerth berth_;
    NatsServer nats_;
    std::string schema_;
    std::string settings_;
    std::string token_;
    chat::PlatformReader read_;
    std::unique_ptr<bus::Connection> bus_;
    std::vector<std::unique_ptr<Owner>> owners_;
    struct Instance;
    std::vector<std::unique_ptr<Instance>> instances_;
};

}  // namespace berth::testing
