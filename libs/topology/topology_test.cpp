// SPDX-License-Identifier: Apache-2.0
// Proves that the files load, that a slip in them is named with its line, and what patterns cover.
#include "topology/topology.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "core/fd.hpp"
#include "topology/rights.hpp"
#include "topology/subjects.hpp"

namespace berth::topology {
namespace {

std::filesystem::path data_folder() {
    return std::filesystem::path(std::getenv("BERTH_SOURCE_DIR")) / "schemas" / "topology";
}

std::string text_of(const std::string& name) { return read_file(data_folder() / name).value(); }

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
}

TEST(Topology, BuiltinIsTheFolder) {
    const auto loaded = load(data_folder());
    ASSERT_TRUE(loaded) << loaded.error().describe();
    EXPECT_EQ(loaded->streams.size(), builtin().streams.size());
    EXPECT_EQ(loaded->users.size(), builtin().users.size());
    EXPECT_EQ(loaded->consumers.size(), builtin().consumers.size());
    const Stream* out = builtin().stream("OUT");
    ASSERT_NE(out, nullptr);
    EXPECT_EQ(out->max_bytes, 8LL << 30);
    EXPECT_EQ(out->max_age, std::chrono::hours(7 * 24));
    EXPECT_TRUE(out->discard_new);
    EXPECT_EQ(builtin().stream("IO"), nullptr);
}

TEST(Topology, SlipsAreNamedWithTheirLine) {
    const std::string streams = text_of("streams.yaml");
    const std::string consumers = text_of("consumers.yaml");
    const std::string users = text_of("users.yaml");
    struct Slip {
        std::string streams, consumers, users, expect;
    };
    const std::vector<Slip> slips{
        {replaced(streams, "retention: work_queue", "retension: work_queue"),
         consumers,
         users,
         "retension"},
        {replaced(streams, "discard: new", "discard: none"),
         consumers,
         users,
         "must be new or old"},
        {replaced(streams, "max_age: 30s", "max_age: 20s"),
         consumers,
         users,
         "longer than max_age"},
        {replaced(streams, "[berth.cmd.prov.>]", "[berth.cmd.lease.acquire]"),
         consumers,
         users,
         "in CMD_LEASE already"},
        {replaced(streams, "[berth.cmd.prov.>]", "[foreign.>]"),
         consumers,
         users,
         "no pattern below berth."},
        {streams,
         replaced(consumers, "CMD_LEASE/lease:", "CMD_LOAN/lease:"),
         users,
         "there is no stream CMD_LOAN"},
        {streams,
         replaced(consumers, "filter: berth.cmd.prov.>", "filter: berth.cmd.lease.>"),
         users,
         "inside the subjects of CMD_PROV"},
        {streams,
         replaced(consumers, "{machine}.>", "{mashine}.>"),
         users,
         "inside the subjects of CMD_NODE"},
        {streams,
         consumers,
         replaced(users, "- berth.cmd.lease.attach", "- $JS.API.>"),
         "'$JS.API.>' is no pattern below berth."},
        {streams,
         consumers,
         replaced(users, "- berth.cmd.lease.attach", "- '>'"),
         "'>' is no pattern below berth."},
        {streams,
         consumers,
         replaced(users, "- berth.cmd.lease.attach", "- berth.live.node.{machine}"),
         "{machine} has no value here"},
        {streams,
         consumers,
         replaced(users, "reads: [EVT, OUT]", "reads: [EVT, OUTPUT]"),
         "there is no stream OUTPUT"},
        {streams,
         consumers,
         replaced(users, "EVT/run-node", "EVT/run-nodes"),
         "there is no consumer EVT/run-nodes"},
        {streams, consumers, replaced(users, "lifetime: 15m", "lifetime: 0s"), "must expire"},
        {streams, consumers, replaced(users, "lifetime: 15m", "admin: true"), "admin"},
    };
    for (const Slip& slip : slips) {
        const auto parsed = parse(slip.streams, slip.consumers, slip.users);
        ASSERT_FALSE(parsed) << slip.expect;
        EXPECT_NE(parsed.error().message.find(slip.expect), std::string::npos)
            << parsed.error().message;
        EXPECT_NE(parsed.error().message.find(".yaml:"), std::string::npos)
            << parsed.error().message;
    }
}

TEST(Subjects, Cover) {
    EXPECT_TRUE(covers("a.>", "a.b.c"));
    EXPECT_TRUE(covers("a.*", "a.b"));
    EXPECT_TRUE(covers("a.*.>", "a.b.>"));
    EXPECT_FALSE(covers("a.>", "a"));
    EXPECT_FALSE(covers("a.*", "a.>"));
    EXPECT_FALSE(covers("a.*", "a.b.c"));
    EXPECT_FALSE(covers("a.b", "a.*"));
    for (const char* bad : {"", ".", "a.", "a..b", "a.>.b", "a.b*", "a b", "a.>>"})
        EXPECT_FALSE(is_pattern(bad)) << bad;
}

TEST(Subjects, PlaceholdersNeverVanish) {
    EXPECT_EQ(fill_in("a.{machine}.{org}", {"", "m_1", "o"}).value(), "a.m_1.o");
    EXPECT_FALSE(fill_in("a.{machine}", {"u", "", ""}));
    EXPECT_FALSE(fill_in("a.{other}", {"u", "m", "o"}));
    EXPECT_FALSE(fill_in("a.{machine", {"u", "m", "o"}));
}

TEST(Rights, NobodyHoldsAWideApiRight) {
    for (const User& user : builtin().users) {
        const auto may = permissions_of(builtin(), user.name);
        ASSERT_TRUE(may) << may.error().describe();
        for (const auto& subject : may->pub_allow) {
            for (const char* wide :
                 {"$JS.API.STREAM.DELETE.EVT",
                  "$JS.API.STREAM.RESTORE.EVT",
                  "$JS.API.ACCOUNT.PURGE.x",
                  "$SYS.REQ.x"}) {
                EXPECT_FALSE(covers(subject, wide)) << user.name << " " << subject;
            }
            const bool creates = covers(subject, "$JS.API.CONSUMER.CREATE.CMD_LEASE") ||
                                 covers(subject, "$JS.API.CONSUMER.CREATE.CMD_LEASE.x.y") ||
                                 covers(subject, "$JS.API.CONSUMER.DURABLE.CREATE.CMD_LEASE.x");
            EXPECT_TRUE(!creates || user.name == "topology") << user.name << " " << subject;
        }
    }
}

TEST(Rights, MachineNamesMustBeTokens) {
    for (const char* bad : {"", "*", ">", "a.b", "M_1", "a b"}) {
        EXPECT_EQ(permissions_of(builtin(), "node", {bad, "default"}).error().code, "bad_machine")
            << bad;
        EXPECT_EQ(permissions_of(builtin(), "node", {"m_1", bad}).error().code, "bad_machine")
            << bad;
        EXPECT_FALSE(consumers_of(builtin(), Machine{bad, "default"}));
    }
    const auto consumers = consumers_of(builtin(), Machine{"m_1", "default"});
    ASSERT_TRUE(consumers);
    ASSERT_EQ(consumers->size(), 1U);
    EXPECT_EQ(consumers->front().durable, "node-m_1");
    EXPECT_EQ(consumers->front().filter, "berth.cmd.node.m_1.>");
}

void expect_apart(const std::vector<std::string>& first, const std::vector<std::string>& second) {
    for (const auto& a : first) {
        for (const auto& b : second) EXPECT_FALSE(covers(a, b) || covers(b, a)) << a << " " << b;
    }
}

TEST(Rights, AReaderIsOfOneOrgAndEnds) {
    for (const char* bad : {"", "*", ">", "a.b", "R_1"}) {
        EXPECT_EQ(permissions_of(builtin(), EventReader{bad, "acme"}).error().code, "bad_reader");
        EXPECT_EQ(permissions_of(builtin(), EventReader{"rd_1", bad}).error().code, "bad_reader");
    }
    const auto durables = consumers_of(builtin(), EventReader{"rd_1", "acme"}).value();
    ASSERT_EQ(durables.size(), 1U);
    EXPECT_EQ(durables.front().durable, "reader-rd_1");
    EXPECT_EQ(durables.front().filter, "berth.evt.acme.>");
    const auto first = permissions_of(builtin(), EventReader{"rd_1", "acme"}).value();
    const auto second = permissions_of(builtin(), EventReader{"rd_2", "globex"}).value();
    expect_apart(first.pub_allow, second.pub_allow);
    expect_apart(first.sub_allow, second.sub_allow);
}

TEST(Rights, OneMachinesRightsDoNotMeetAnothers) {
    const auto first = permissions_of(builtin(), "node", {"m_1", "acme"}).value();
    const auto second = permissions_of(builtin(), "node", {"m_2", "globex"}).value();
    expect_apart(first.pub_allow, second.pub_allow);
    expect_apart(first.sub_allow, second.sub_allow);
}

}  // namespace
}  // namespace berth::topology
