// SPDX-License-Identifier: Apache-2.0
// The two buses as tests start them, and a count to wait for.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <fstream>
#include <map>
#include <set>

#include "berth/common/v1/common.pb.h"
#include "bus/asker.hpp"
#include "bus/byte_channel.hpp"
#include "bus/completion.hpp"
#include "bus/memory_bus.hpp"
#include "core/guarded.hpp"
#include "core/id.hpp"
#include "support/nats/nats_server.hpp"
#include "support/temporary_folder.hpp"
#include "topology/bus_tls.hpp"

namespace berth::bus {

inline constexpr seconds kPatience{20};

/// Counts things up to a goal that a test waits for.
class Tally {
public:
    void add(const std::string& what) {
        const std::lock_guard lock(mutex_);
        ++counts_[what];
        order_.push_back(what);
        changed_.notify_all();
    }
    bool wait(const std::function<bool(const std::map<std::string, int>&)>& goal) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, kPatience, [&] { return goal(counts_); });
    }
    bool wait_distinct(std::size_t count) {
        return wait([count](const auto& counts) { return counts.size() >= count; });
    }
    std::map<std::string, int> counts() {
        const std::lock_guard lock(mutex_);
        return counts_;
    }
    std::vector<std::string> order() {
        const std::lock_guard lock(mutex_);
        return order_;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::string, int> counts_;
    std::vector<std::string> order_;
};

inline Message make(std::string subject, std::string payload, std::string id) {
    return {std::move(subject), {{std::string(kMsgId), std::move(id)}}, std::move(payload)};
}

class World {
public:
    virtual ~World() = default;
    virtual std::unique_ptr<Connection> connect(const std::string& name) = 0;
    virtual testing::NatsServer* nats() { return nullptr; }
};

class MemoryWorld final : public World {
public:
    explicit MemoryWorld(MemoryFaults faults)
        : server_(
              7,
              faults,
              {{"CMD", {"berth.cmd.>"}, true},
               {"RPL", {"berth.rpl.>"}},
               {"EVT", {"berth.evt.>"}},
               {"SMALL", {"small.>"}, false, 3}},
              {{"CMD", "worker", "berth.cmd.svc.>", milliseconds{300}}}
          ) {}
    std::unique_ptr<Connection> connect(const std::string&) override { return server_.connect(); }

private:
    MemoryServer server_;
};

class NatsWorld final : public World {
public:
    explicit NatsWorld(bool tls = false) : server_(start(tls)) {
        const auto admin = connect("admin");
        const auto create = [&](const std::string& subject, const std::string& body) {
            const auto answer = admin->request("$JS.API." + subject, body, seconds{5});
            if (!answer || answer->find("\"error\"") != std::string::npos)
                throw std::runtime_error(
                    subject + ": " + (answer ? *answer : answer.error().describe())
                );
        };
        create(
            "STREAM.CREATE.CMD",
            R"({"name":"CMD","subjects":["berth.cmd.>"],"retention":"workqueue","storage":"file","num_replicas":1})"
        );
        create(
            "STREAM.CREATE.RPL",
            R"({"name":"RPL","subjects":["berth.rpl.>"],"storage":"memory","num_replicas":1})"
        );
        create(
            "STREAM.CREATE.EVT",
            R"({"name":"EVT","subjects":["berth.evt.>"],"storage":"file","num_replicas":1})"
        );
        create(
            "STREAM.CREATE.SMALL",
            R"({"name":"SMALL","subjects":["small.>"],"max_msgs":3,"discard":"new","storage":"file","num_replicas":1})"
        );
        create(
            "CONSUMER.DURABLE.CREATE.CMD.worker",
            R"({"stream_name":"CMD","config":{"durable_name":"worker","ack_policy":"explicit","ack_wait":1000000000,"filter_subject":"berth.cmd.svc.>","max_ack_pending":1024}})"
        );
    }
    std::unique_ptr<Connection> connect(const std::string& name) override {
        ConnectSettings settings;
        settings.url = server_.url();
        if (!ca_file_.empty()) {
            settings.url.replace(0, 4, "tls");
            settings.ca_file = ca_file_;
        }
        settings.name = name;
        settings.inbox_prefix = "_INBOX." + name;
        auto connection = bus::connect(std::move(settings));
        if (!connection) throw std::runtime_error(connection.error().describe());
        return std::move(*connection);
    }
    testing::NatsServer* nats() override { return &server_; }

private:
    testing::NatsServer start(bool tls) {
        testing::NatsServerOptions options;
        if (!tls) return testing::NatsServer::start(options);
        const auto made = topology::prepare_certificate(folder_.path(), {{"bus"}, {}, {}, {}});
        if (!made) throw std::runtime_error(made.error().describe());
        ca_file_ = made->ca_file.string();
        options.conf = folder_.path() / "nats.conf";
        std::ofstream(options.conf)
            << "jetstream { store_dir: \"" << (folder_.path() / "store").string()
            << "\", max_mem: 1GB, max_file: 256GB }\ntls { cert_file: \""
            << made->cert_file.string() << "\", key_file: \"" << made->key_file.string()
            << "\" }\n";
        return testing::NatsServer::start(options);
    }

    testing::TemporaryFolder folder_;
    std::string ca_file_;
    testing::NatsServer server_;
};

}  // namespace berth::bus
