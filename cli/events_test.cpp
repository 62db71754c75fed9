// SPDX-License-Identifier: Apache-2.0
// Events through connections that are cut anywhere, and credentials that lead to no file.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <mutex>

#include "cli/api.hpp"
#include "cli/args.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/event_feed.hpp"
#include "core/fd.hpp"
#include "net/http_server.hpp"

namespace berth::cli {
namespace {

namespace fs = std::filesystem;

/// Gives to each request for events the next of its texts and then ends the stream.
class CuttingGateway {
public:
    explicit CuttingGateway(std::vector<std::string> texts) : texts_(std::move(texts)) {
        auto server = net::HttpServer::start({}, [this](net::Request request, net::Responder to) {
            const std::lock_guard lock(mutex_);
            asked_.push_back(
                request.method + " " + request.path + "?" +
                request.query.get_or("last_event_id", "")
            );
            if (asked_.size() > texts_.size()) return to.respond({403, "text/plain", {}, "no"});
            net::Stream stream = to.start_stream(200, "text/event-stream");
            stream.write(texts_[asked_.size() - 1]);
            stream.close();
        });
        if (!server) throw std::runtime_error(server.error().describe());
        server_ = std::move(*server);
    }
    ~CuttingGateway() { server_->stop(milliseconds{10}); }
    std::string url() const { return server_->url(); }
    std::vector<std::string> asked() {
        const std::lock_guard lock(mutex_);
        return asked_;
    }

private:
    const std::vector<std::string> texts_;
    std::mutex mutex_;
    std::vector<std::string> asked_;  // by mutex_
    std::unique_ptr<net::HttpServer> server_;
};

struct Followed {
    std::string taken;
    std::vector<std::string> said;
    int pauses = 0;
    Result<void> done;
    std::optional<std::uint64_t> last;
};

Followed follow_all(CuttingGateway& gateway, const std::string& until, bool stored_only = false) {
    Followed out;
    Api api(gateway.url(), Secret("t"));
    EventFeed feed([&](std::string_view data) {
        out.taken += data;
        return out.taken.find(until) == std::string::npos;
    });
    Following wanted;
    wanted.stored_only = stored_only;
    wanted.say = [&](const std::string& text) { out.said.push_back(text); };
    wanted.pause = [&](milliseconds) { ++out.pauses; };
    out.done = follow(api, feed, wanted);
    out.last = feed.last();
    return out;
}

TEST(EventFeedTest, GoesOnBehindTheLastWholeEventWhereverItIsCut) {
    CuttingGateway gateway(
        {"retry: 1000\nid: 7\n\n",
         "id: 8\nevent: x\ndata: {\"a\":1}\n\nid: 9\nevent: x\n",
         "id: 8\n\nid: 9\nevent: x\ndata: {\"b\":",
         "id: 9\ndata: {\"b\":1}\n",
         "id: 9\r\ndata: {\"b\":1}\r\n\r\n: keep-alive\n\nid: 10\ndata: {\"c\":1}\n\n"}
    );
    const Followed followed = follow_all(gateway, "c");
    EXPECT_TRUE(followed.done) << followed.done.error().describe();
    EXPECT_EQ(followed.taken, "{\"a\":1}\n{\"b\":1}\n{\"c\":1}\n");
    EXPECT_EQ(
        gateway.asked(),
        (std::vector<std::string>{
            "GET /v1/events?",
            "GET /v1/events?7",
            "GET /v1/events?8",
            "GET /v1/events?8",
            "GET /v1/events?8"})
    );
    EXPECT_EQ(followed.pauses, 4);
    EXPECT_EQ(followed.last, 9U) << "the one that was not taken is not passed over";
    ASSERT_GE(followed.said.size(), 2U);
    EXPECT_NE(followed.said[0].find("trying again from sequence 8"), std::string::npos);
    EXPECT_EQ(followed.said[1], "connected again");
}

TEST(EventFeedTest, ARefusalAndTheEndOfWhatIsStoredAreEnds) {
    {
        CuttingGateway gateway({});
        const Followed refused = follow_all(gateway, "never");
        ASSERT_FALSE(refused.done);
        EXPECT_EQ(refused.done.error().fault, Fault::kForbidden);
        EXPECT_EQ(gateway.asked().size(), 1U);
    }
    {
        CuttingGateway gateway({"id: 1\ndata: {}\n\n"});
        EXPECT_FALSE(follow_all(gateway, "never").done) << "refused when it came again";
        EXPECT_EQ(gateway.asked().size(), 2U);
    }
    CuttingGateway gateway({"id: 1\ndata: {}\n\n"});
    EXPECT_TRUE(follow_all(gateway, "never", true).done);
    EXPECT_EQ(gateway.asked().size(), 1U);
    const std::string nobody = [] {
        const CuttingGateway gone({});
        return gone.url();
    }();
    Api api(nobody, Secret("t"));
    EventFeed feed([](std::string_view) { return true; });
    Following wanted;
    wanted.pause = [](milliseconds) { FAIL() << "nobody was ever there"; };
    EXPECT_EQ(follow(api, feed, wanted).error().code, "connect_failed");
}

TEST(EventFeedTest, AStreamThatIsTakenAwayEndsWithItsReason) {
    CuttingGateway gateway(
        {"id: 1\nevent: x\ndata: {}\n\nevent: error\n"
         "data: {\"status\":401,\"code\":\"unauthenticated\",\"detail\":\"the token is no "
         "more\"}\n\n"}
    );
    const Followed followed = follow_all(gateway, "never");
    ASSERT_FALSE(followed.done);
    EXPECT_EQ(followed.done.error().fault, Fault::kUnauthenticated);
    EXPECT_EQ(followed.taken, "{}\n");
    EXPECT_EQ(followed.last, 1U);
    EXPECT_EQ(gateway.asked().size(), 1U);
}

/// What `berth events credentials --output <path>` says, against a gateway that answers so.
int credentials(const std::string& server, const fs::path& path) {
    const auto arguments = parse_arguments(
        {"events",
         "credentials",
         "--name",
         "ci",
         "--quiet",
         "--server",
         server,
         "--output",
         path.string()}
    );
    if (!arguments) throw std::runtime_error(arguments.error().message);
    auto context = Context::make(*arguments);
    if (!context) throw std::runtime_error(context.error().message);
    return run_events(*context, *arguments);
}

TEST(EventCredentials, NothingIsAskedForWhereTheFileCannotBeWritten) {
    std::string name = (fs::temp_directory_path() / "berth-events-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    ::setenv("XDG_CONFIG_HOME", name.c_str(), 1);
    const fs::path folder = fs::path(name) / "out";
    fs::create_directory(folder);
    const auto files = [&] {
        return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
    };
    int asked = 0;
    std::atomic<int> status{403};
    auto server = net::HttpServer::start({}, [&](net::Request, net::Responder to) {
        ++asked;
        to.respond({status, "application/json", {}, R"({"name":"ci","creds":"a credential"})"});
    });
    ASSERT_TRUE(server);
    const std::string url = (*server)->url();
    EXPECT_NE(credentials(url, folder / "no" / "such" / "ci.creds"), 0);
    EXPECT_NE(credentials(url, folder), 0);
    EXPECT_EQ(asked, 0);
    EXPECT_NE(credentials(url, folder / "ci.creds"), 0);
    EXPECT_EQ(asked, 1);
    EXPECT_EQ(files(), 0) << "nothing is left of a refusal";
    status = 201;
    EXPECT_EQ(credentials(url, folder / "ci.creds"), 0);
    EXPECT_EQ(files(), 1);
    EXPECT_EQ(read_file(folder / "ci.creds").value_or(""), "a credential");
    EXPECT_EQ(
        fs::status(folder / "ci.creds").permissions() &
            (fs::perms::group_all | fs::perms::others_all),
        fs::perms::none
    );
    (*server)->stop(milliseconds{10});
    fs::remove_all(name);
}

/// The exit code of `berth events ...` and what it prints, against a gateway of one event.
class EventsCommand : public ::testing::Test {
protected:
    EventsCommand() {
        auto server = net::HttpServer::start({}, [this](net::Request request, net::Responder to) {
            const std::lock_guard lock(mutex_);
            asked_.push_back(request.method + " " + request.path + " " + std::string(request.body));
            if (request.path == "/v1/whoami")
                return to.respond({200, "application/json", {}, R"({"user":"ada","org":"default"})"}
                );
            if (request.path == "/v1/event_readers")
                return to.respond({201, "application/json", {}, R"({"creds":"c"})"});
            from_ = request.query.get_or("from", "");
            net::Stream stream = to.start_stream(200, "text/event-stream");
            stream.write("id: 8\ndata: {}\n\n");
            stream.close();
        });
        if (!server) throw std::runtime_error(server.error().describe());
        server_ = std::move(*server);
    }
    ~EventsCommand() override { server_->stop(milliseconds{10}); }

    int berth(std::vector<std::string> words) {
        words.insert(words.begin(), "events");
        words.insert(words.end(), {"--server", server_->url()});
        const auto arguments = parse_arguments(words);
        if (!arguments) throw std::runtime_error(arguments.error().message);
        auto context = Context::make(*arguments);
        if (!context) throw std::runtime_error(context.error().message);
        ::testing::internal::CaptureStdout();
        ::testing::internal::CaptureStderr();
        const int code = run_events(*context, *arguments);
        out_ = ::testing::internal::GetCapturedStdout();
        err_ = ::testing::internal::GetCapturedStderr();
        return code;
    }
    std::vector<std::string> asked() {
        const std::lock_guard lock(mutex_);
        return std::exchange(asked_, {});
    }

    std::string out_;
    std::string err_;
    std::mutex mutex_;
    std::string from_;                // by mutex_
    std::vector<std::string> asked_;  // by mutex_
    std::unique_ptr<net::HttpServer> server_;
};

TEST_F(EventsCommand, ACredentialWithoutANameIsInOnesOwn) {
    EXPECT_EQ(berth({"credentials", "--org", "default"}), 0) << err_;
    const auto all = asked();
    ASSERT_FALSE(all.empty());
    EXPECT_EQ(all.back(), R"(POST /v1/event_readers {"name":"ada"})");
    EXPECT_EQ(berth({"credentials", "--name", "ci"}), 0) << err_;
    EXPECT_EQ(asked(), std::vector<std::string>{R"(POST /v1/event_readers {"name":"ci"})"});
}

TEST_F(EventsCommand, WhatAnActionDoesNotTakeIsRefusedAndNothingIsAsked) {
    for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
             {"replay", "--output", "x"},
             {"tail", "--life", "1h"},
             {"--name", "ci"},
             {"readers", "--subject", "berth.evt.default.>"},
             {"revoke", "ci", "--from", "1"},
             {"credentials", "--from", "1"}}) {
        EXPECT_EQ(berth(words), 2) << words.back();
        EXPECT_NE(err_.find("does not take --"), std::string::npos) << err_;
    }
    EXPECT_EQ(berth({"revoke"}), 2);
    EXPECT_NE(err_.find("berth events revoke <name>"), std::string::npos) << err_;
    EXPECT_EQ(berth({"readers", "ci"}), 2);
    EXPECT_EQ(berth({"frob"}), 2);
    EXPECT_NE(err_.find("does not know 'frob'"), std::string::npos) << err_;
    for (const char* from : {"-1", "abc", "1x"}) {
        EXPECT_EQ(berth({"replay", "--from", from}), 2) << from;
        EXPECT_NE(err_.find("--from"), std::string::npos) << err_;
    }
    EXPECT_TRUE(asked().empty());
}

TEST_F(EventsCommand, AnotherOrgIsRefusedByEveryAction) {
    for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
             {"tail"}, {"replay"}, {"credentials"}, {"readers"}, {"revoke", "ci"}}) {
        auto with_org = words;
        with_org.insert(with_org.end(), {"--org", "globex"});
        EXPECT_EQ(berth(with_org), 2) << words[0];
        EXPECT_NE(err_.find("your token is of org default"), std::string::npos) << err_;
        EXPECT_EQ(asked(), std::vector<std::string>{"GET /v1/whoami "}) << words[0];
    }
    EXPECT_EQ(berth({"replay", "--from", "0", "--org", "default"}), 0) << err_;
    EXPECT_EQ(out_, "{}\n");
    EXPECT_NE(err_.find("--from 9 goes on from here"), std::string::npos) << err_;
    EXPECT_EQ(from_, "0");
}

}  // namespace
}  // namespace berth::cli
