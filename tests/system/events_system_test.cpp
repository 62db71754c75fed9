// SPDX-License-Identifier: Apache-2.0
// behaviours: channels 9, 10. Events as others' programs get them: the samples, a reader's
// credential, and webhooks while what sends them is killed.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <fstream>
#include <mutex>
#include <random>
#include <set>

#include "bus/connection.hpp"
#include "core/fd.hpp"
#include "net/http_server.hpp"
#include "support/sanitized.hpp"
#include "support/suite/suite.hpp"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;

Suite& suite() {
    static SuiteOptions options{
        "webhook:\n"
        "  allow_http: true\n"
        "  allowed_networks: [127.0.0.1]\n"};
    static Suite one(options);
    return one;
}

std::string source(const std::string& path) {
    return std::string(std::getenv("BERTH_SOURCE_DIR")) + "/" + path;
}

/// Makes an event: profile <name> is set.
void happen(const std::string& name, int number = 0) {
    const auto response = suite().api(
        "PUT",
        "/v1/profiles/" + name,
        R"({"driver":"local","ttl":")" + std::to_string(number % 50 + 1) + R"(m"})"
    );
    ASSERT_EQ(response.status, 200) << response.body;
}

Json made(const Said& said) {
    EXPECT_EQ(said.exit_code, 0) << said.err;
    auto json = Json::parse(said.out);
    EXPECT_TRUE(json) << said.out;
    return json ? *json : Json();
}

std::size_t lines_with(const std::string& text, const std::string& word) {
    std::size_t count = 0;
    for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
    return count;
}

/// A credential, as an admin makes it, and what a program needs besides.
struct Reader {
    std::string name;
    std::string url;
    std::string durable;
    std::string inbox_prefix;
    fs::path creds;

    explicit Reader(const std::string& reader) : name(reader) {
        creds = suite().folder() / (name + ".creds");
        const Json json = made(suite().berth(
            {"events",
             "credentials",
             "--name",
             name,
             "--org",
             "default",
             "--life",
             "1h",
             "--output",
             creds.string(),
             "--json"}
        ));
        EXPECT_EQ(json.string_or("creds", ""), "") << "the file has it";
        url = json.string_or("nats_url", "");
        durable = json.string_or("durable", "");
        inbox_prefix = json.string_or("inbox_prefix", "");
        EXPECT_EQ(
            fs::status(creds).permissions() & (fs::perms::group_all | fs::perms::others_all),
            fs::perms::none
        );
    }
    std::vector<std::string> arguments(int count) const {
        return {url, creds.string(), durable, inbox_prefix, std::to_string(count)};
    }
    std::unique_ptr<bus::Connection> connect() const {
        bus::ConnectSettings settings;
        settings.url = url;
        settings.name = "reader";
        settings.inbox_prefix = inbox_prefix;
        settings.credentials = bus::credentials_from_file(creds.string());
        auto connection = bus::connect(std::move(settings));
        if (!connection) throw std::runtime_error(connection.error().describe());
        return std::move(*connection);
    }
};

Said run(std::vector<std::string> argv, const std::vector<std::string>& more) {
    argv.insert(argv.end(), more.begin(), more.end());
    return launch(argv, suite().folder(), {}, true)->finish(seconds{60});
}

/// An interpreter with these packages of PyPI in a folder of the build, or nothing where they are
/// not to be had.
std::optional<std::string> python_with(const std::string& packages) {
    const fs::path folder = fs::path(std::getenv("BERTH_BIN_DIR")).parent_path() / "events_venv";
    const std::string python = (folder / "bin" / "python").string();
    const std::string log = folder.string() + ".log";
    const std::string script =
        "{ test -x '" + python + "' || python3 -m venv '" + folder.string() + "'; '" + python +
        "' -m pip install -q --disable-pip-version-check " + packages + "; } > '" + log + "' 2>&1";
    // With our environment, which knows the registry.
    if (std::system(("timeout 180 sh -c \"" + script + "\"").c_str()) == 0) return python;
    const std::string said = read_file(log).value_or("");
    std::printf("*** SKIPPED: PyPI has no %s for us: %s\n", packages.c_str(), said.c_str());
    return std::nullopt;
}

TEST(EventsSystem, ASampleInEachLanguageSeesWhatHappens) {
    const Reader reader("samples");
    for (int i = 0; i < 3; ++i) happen("first", i);
    const std::string sample =
        (fs::path(std::getenv("BERTH_BIN_DIR")).parent_path() / "tests" / "events_sample").string();
    const Said cpp = run({sample}, reader.arguments(3));
    EXPECT_EQ(cpp.exit_code, 0) << cpp.err;
    EXPECT_EQ(lines_with(cpp.out, "berth.evt.default.lease.profile.set.first"), 3U) << cpp.out;
    EXPECT_EQ(lines_with(cpp.out, "berth.lease.v1.ProfileChanged"), 3U) << cpp.out;

    happen("second");
    if (const auto python = python_with("nats-py nkeys")) {
        const Said said = run({*python, source("docs/samples/events.py")}, reader.arguments(1));
        EXPECT_EQ(said.exit_code, 0) << said.err;
        EXPECT_EQ(lines_with(said.out, "berth.evt.default.lease.profile.set.second"), 1U)
            << "the durable keeps its place: " << said.out;
    } else {
        EXPECT_EQ(run({sample}, reader.arguments(1)).exit_code, 0);
    }

    const fs::path token = suite().folder() / "token";
    ASSERT_TRUE(write_file_atomic(token, suite().token(), 0600));
    const auto curl = launch(
        {"sh",
         source("docs/samples/events.sh"),
         suite().url(),
         token.string(),
         "berth.evt.default.lease.profile.>",
         "1"},
        suite().folder(),
        {},
        true
    );
    EXPECT_TRUE(curl->wait_out("berth.evt.default.lease.profile.set.second"));
    happen("third");
    EXPECT_TRUE(curl->wait_out("berth.evt.default.lease.profile.set.third"));
    suite().kill9("gateway");
    ASSERT_TRUE(suite().wait_ready());
    happen("fourth");
    EXPECT_TRUE(curl->wait_out("berth.evt.default.lease.profile.set.fourth")) << "it resumes";
    EXPECT_EQ(lines_with(curl->out(), "profile.set.third"), 1U) << "and repeats nothing";
    curl->signal(SIGTERM);
    (void)curl->finish(seconds{10});
}

TEST(EventsSystem, TheShellSampleLosesNothingWhereItsStreamIsCut) {
    const std::vector<std::string> texts{
        "retry: 1000\nid: 6\n\nid: 7\nevent: x\ndata: {\"n\":7}\n\nid: 8\nevent: x\n",
        "id: 8\nevent: x\ndata: {\"n\":8",
        "id: 8\nevent: x\ndata: {\"n\":8}\n\nid: 9\nevent: x\ndata: {\"n\":9}\n\n"};
    std::mutex mutex;
    std::vector<std::string> asked;
    auto gateway = net::HttpServer::start({}, [&](net::Request request, net::Responder responder) {
        const std::lock_guard lock(mutex);
        asked.emplace_back(request.headers.get("Last-Event-ID"));
        if (asked.size() > texts.size()) return responder.respond({503, {}, {}, {}});
        net::Stream stream = responder.start_stream(200, "text/event-stream");
        stream.write(texts[asked.size() - 1]);
        stream.close();
    });
    ASSERT_TRUE(gateway);
    const fs::path token = suite().folder() / "token";
    ASSERT_TRUE(write_file_atomic(token, suite().token(), 0600));
    const auto curl = launch(
        {"sh", source("docs/samples/events.sh"), (*gateway)->url(), token.string(), "", "5"},
        suite().folder(),
        {},
        true
    );
    EXPECT_TRUE(curl->wait_out("{\"n\":9}"));
    EXPECT_EQ(curl->out(), "{\"n\":7}\n{\"n\":8}\n{\"n\":9}\n");
    curl->signal(SIGTERM);
    (void)curl->finish(seconds{10});
    (*gateway)->stop(milliseconds{50});
    ASSERT_GE(asked.size(), 3U);
    asked.resize(3);
    EXPECT_EQ(asked, (std::vector<std::string>{"5", "7", "7"}));
}

TEST(EventsSystem, AReaderHearsItsOrgAloneUntilItIsRevoked) {
    const Reader reader("ears");
    auto connection = reader.connect();
    std::mutex mutex;
    std::vector<bus::Message> heard;
    auto ear = connection->subscribe("berth.evt.default.>", [&](bus::Message message) {
        const std::lock_guard lock(mutex);
        heard.push_back(std::move(message));
    });
    ASSERT_TRUE(ear);
    ASSERT_TRUE(connection->flush(seconds{5}));
    happen("heard");
    ASSERT_TRUE(suite().eventually([&] {
        const std::lock_guard lock(mutex);
        return !heard.empty();
    }));
    {
        const std::lock_guard lock(mutex);
        EXPECT_EQ(heard[0].header("ce-type"), "berth.lease.v1.ProfileChanged");
        EXPECT_EQ(heard[0].header("ce-specversion"), "1.0");
        EXPECT_FALSE(heard[0].header("ce-time").empty());
    }
    const auto violations = [&] { return connection->stats().permission_violations.load(); };
    EXPECT_EQ(violations(), 0U);
    auto other = connection->subscribe("berth.evt.globex.>", [](bus::Message) {});
    EXPECT_TRUE(suite().eventually([&] { return violations() > 0; }, seconds{10}));
    const auto before = violations();
    (void)connection->publish_plain("berth.evt.default.lease.profile.set.forged", "");
    EXPECT_TRUE(suite().eventually([&] { return violations() > before; }, seconds{10}));

    const Json readers = made(suite().berth({"events", "readers", "--json"}));
    ASSERT_NE(readers.find("readers"), nullptr);
    EXPECT_NE(readers.dump().find(reader.durable), std::string::npos);
    EXPECT_EQ(suite().berth({"events", "revoke", "ears"}).exit_code, 0);
    EXPECT_EQ(suite().berth({"events", "revoke", "ears"}).exit_code, 1);
    const std::string sample =
        (fs::path(std::getenv("BERTH_BIN_DIR")).parent_path() / "tests" / "events_sample").string();
    EXPECT_NE(run({sample}, reader.arguments(1)).exit_code, 0) << "its durable is gone";
    fs::remove(reader.creds);
    const Reader again("ears");
    EXPECT_NE(again.durable, reader.durable) << "not for who had the name before";
    happen("again");
    EXPECT_EQ(run({sample}, again.arguments(1)).exit_code, 0);
    EXPECT_EQ(
        suite().berth({"events", "credentials", "--name", "x", "--org", "globex"}).exit_code, 2
    );
    const auto lost = (suite().folder() / "no" / "such" / "x.creds").string();
    EXPECT_EQ(
        suite().berth({"events", "credentials", "--name", "lost", "--output", lost}).exit_code, 1
    );
    EXPECT_EQ(suite().berth({"events", "readers"}).out.find("lost"), std::string::npos);
}

TEST(EventsSystem, TailAndReplay) {
    happen("replayed", 1);
    const Said stored = suite().berth(
        {"events",
         "replay",
         "--from",
         "1",
         "--subject",
         "berth.evt.default.lease.profile.*.replayed"}
    );
    EXPECT_EQ(stored.exit_code, 0) << stored.err;
    EXPECT_EQ(lines_with(stored.out, "\"subject\""), 1U) << stored.out;
    const Said none =
        suite().berth({"events", "replay", "--subject", "berth.evt.default.lease.profile.*.nobody"}
        );
    EXPECT_EQ(none.exit_code, 0) << none.err;
    EXPECT_EQ(none.out, "");
    EXPECT_EQ(suite().berth({"events", "replay", "--json", "--from", "1000000000"}).out, "");
    const auto tail =
        suite().start({"events", "tail", "--subject", "berth.evt.default.lease.>"}, {});
    int number = 0;
    ASSERT_TRUE(suite().eventually([&] {
        happen("tailed", ++number);
        return tail->wait_out("profile.set.tailed", milliseconds{500});
    }));
    suite().kill9("gateway");
    ASSERT_TRUE(suite().wait_ready());
    happen("after");
    ASSERT_TRUE(tail->wait_out("profile.set.after")) << "it goes on behind a restart";
    tail->signal(SIGINT);
    const Said ended = tail->finish(seconds{10});
    EXPECT_NE(ended.err.find("trying again from sequence "), std::string::npos) << ended.err;
    // Where it says, and nothing else: what happened since.
    const auto line = ended.out.find("profile.set.after");
    const Json last = *Json::parse(ended.out.substr(
        ended.out.rfind('\n', line) + 1,
        ended.out.find('\n', line) - ended.out.rfind('\n', line) - 1
    ));
    const auto next = std::to_string(std::stoll(last.string_or("sequence", "0")) + 1);
    EXPECT_NE(ended.err.find("--from " + next + " goes on from here"), std::string::npos)
        << ended.err;
    happen("since");
    const std::string out = suite().berth({"events", "replay", "--from", next}).out;
    EXPECT_EQ(lines_with(out, "profile.set.since"), 1U) << out;
    EXPECT_EQ(lines_with(out, "profile.set.after"), 0U) << out;
}

/// Keeps every post; answers 200, or what `status` says.
class Sink {
public:
    Sink() {
        server_ = std::move(
            net::HttpServer::start(
                {},
                [this](net::Request request, net::Responder responder) {
                    Json post = Json::object().set("path", request.path).set("body", request.body);
                    for (const char* name :
                         {"webhook-id", "webhook-timestamp", "webhook-signature"})
                        post.set(name, request.headers.get(name));
                    {
                        const std::lock_guard lock(mutex_);
                        posts_.push_back(std::move(post));
                    }
                    responder.respond({status, "text/plain", {}, "ok"});
                }
            ).value()
        );
    }
    ~Sink() { server_->stop(milliseconds{50}); }
    std::string url() const { return server_->url() + "/hook?key=opensesame"; }
    std::vector<Json> posts() {
        const std::lock_guard lock(mutex_);
        return posts_;
    }
    std::set<std::string> ids() {
        std::set<std::string> out;
        for (const auto& post : posts()) out.insert(post.string_or("webhook-id", ""));
        return out;
    }
    std::atomic<int> status{200};

private:
    std::mutex mutex_;
    std::vector<Json> posts_;  // by mutex_
    std::unique_ptr<net::HttpServer> server_;
};

struct Webhook {
    std::string id;
    std::string secret;
};
Webhook add(const std::string& url, const std::vector<std::string>& more = {}) {
    std::vector<std::string> argv{"webhooks", "add", url, "--json"};
    argv.insert(argv.end(), more.begin(), more.end());
    const Json json = made(suite().berth(argv));
    const Json* webhook = json.find("webhook");
    return {webhook == nullptr ? "" : webhook->string_or("id", ""), json.string_or("secret", "")};
}

std::set<std::string> ids_of_replay(const std::string& subject) {
    std::set<std::string> out;
    std::istringstream lines(
        suite().berth({"events", "replay", "--from", "1", "--subject", subject}).out
    );
    for (std::string line; std::getline(lines, line);)
        out.insert(Json::parse(line)->string_or("id", ""));
    return out;
}

/// One that was killed a moment ago may not be there yet.
void kill_when_ready(const std::string& part) {
    ASSERT_TRUE(suite().wait_ready());
    suite().kill9(part);
}

TEST(EventsSystem, WebhooksLoseNothingWhileWhatSendsThemIsKilled) {
    Sink sink;
    const std::string subject = "berth.evt.default.lease.profile.set.storm";
    const Webhook hook = add(sink.url(), {"--subject", subject});
    ASSERT_TRUE(hook.id.starts_with("wh_")) << hook.id;
    ASSERT_TRUE(hook.secret.starts_with("whsec_"));
    const unsigned seed = 20260512;
    std::mt19937 random(seed);
    for (int i = 0; i < 200; ++i) {
        ASSERT_TRUE(suite().eventually([&] {
            return suite()
                       .api(
                           "PUT",
                           "/v1/profiles/storm",
                           R"({"driver":"local","ttl":")" + std::to_string(i % 50 + 1) + R"(m"})"
                       )
                       .status == 200;
        }));
        if (i == 40 || i == 80 || i == 120) kill_when_ready("webhook");
        if (i == 140) kill_when_ready("nats");
        if (random() % 40 == 0) sink.status = sink.status == 200 ? 503 : 200;
    }
    sink.status = 200;
    ASSERT_TRUE(suite().wait_ready());
    const auto wanted = ids_of_replay(subject);
    EXPECT_GE(wanted.size(), 200U);
    EXPECT_TRUE(suite().eventually(
        [&] {
            const auto seen = sink.ids();
            return std::includes(seen.begin(), seen.end(), wanted.begin(), wanted.end());
        },
        seconds{120}
    )) << sink.ids().size()
       << " of " << wanted.size();

    // By others' code: OpenSSL, and the reference library where PyPI is to be had.
    const Json post = sink.posts().back();
    const fs::path signed_text = suite().folder() / "signed";
    ASSERT_TRUE(write_file_atomic(
        signed_text,
        post.string_or("webhook-id", "") + "." + post.string_or("webhook-timestamp", "") + "." +
            post.string_or("body", ""),
        0600
    ));
    const Said openssl = run(
        {"sh",
         "-c",
         "key=$(printf %s \"${1#whsec_}\" | base64 -d | od -An -v -tx1 | tr -d ' \\n'); openssl "
         "dgst -sha256 -mac HMAC -macopt hexkey:$key -binary \"$2\" | base64",
         "sh",
         hook.secret,
         signed_text.string()},
        {}
    );
    EXPECT_EQ("v1," + openssl.out, post.string_or("webhook-signature", "") + "\n") << openssl.err;
    if (const auto python = python_with("standardwebhooks")) {
        Json all = Json::array();
        for (const auto& each : sink.posts()) all.push(each);
        const fs::path posts = suite().folder() / "posts.json";
        ASSERT_TRUE(write_file_atomic(posts, all.dump(), 0600));
        const Said said =
            run({*python, source("tests/support/webhook_verify.py"), posts.string()},
                {hook.secret});
        EXPECT_EQ(said.exit_code, 0) << said.err;
        EXPECT_EQ(said.out, std::to_string(sink.posts().size()) + " verified\n");
    }
    EXPECT_EQ(suite().berth({"webhooks", "remove", hook.id}).exit_code, 0);
}

TEST(EventsSystem, WebhooksFromTheCommandLine) {
    Sink sink;
    const Webhook hook =
        add(sink.url(), {"--subject", "berth.evt.default.lease.profile.>", "--mode", "binary"});
    const Said test = suite().berth({"webhooks", "test", hook.id});
    EXPECT_EQ(test.exit_code, 0) << test.err << test.out;
    EXPECT_NE(test.out.find("delivered HTTP 200"), std::string::npos) << test.out;
    happen("told");
    ASSERT_TRUE(suite().eventually([&] { return sink.posts().size() >= 2; }));
    const Json log = made(suite().berth({"webhooks", "deliveries", hook.id, "--json"}));
    ASSERT_EQ(log.find("deliveries")->as_array()->size(), 2U);
    const auto newest = (*log.find("deliveries")->as_array())[0].string_or("id", "");
    EXPECT_EQ(suite().berth({"webhooks", "replay", hook.id, newest}).out, "1 to be sent again\n");
    EXPECT_TRUE(suite().eventually([&] { return sink.posts().size() >= 3; }));
    EXPECT_EQ(sink.ids().size(), 2U) << "the same webhook-id again";
    EXPECT_EQ(suite().berth({"webhooks", "disable", hook.id}).exit_code, 0);
    EXPECT_NE(suite().berth({"webhooks"}).out.find("disabled: admin"), std::string::npos);
    EXPECT_EQ(suite().berth({"webhooks", "test", hook.id}).exit_code, 1);
    const Said refused = suite().berth({"webhooks", "replay", hook.id, newest});
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_NE(refused.err.find("enable it first"), std::string::npos) << refused.err;
    EXPECT_EQ(suite().berth({"webhooks", "enable", hook.id}).exit_code, 0);
    EXPECT_EQ(suite().berth({"webhooks", "replay", hook.id, "999999"}).exit_code, 1);
    const Json rotated = made(suite().berth({"webhooks", "rotate", hook.id, "--json"}));
    EXPECT_NE(rotated.string_or("secret", ""), hook.secret);
    EXPECT_NE(suite().berth({"webhooks", "add", "https://10.0.0.1/"}).exit_code, 0);
    EXPECT_NE(suite().berth({"webhooks", "add", "http://example.org#x"}).exit_code, 0);
    EXPECT_EQ(suite().berth({"webhooks", "frob", hook.id}).exit_code, 2);

    // Secrets, and the url's own, are nowhere but where they were shown.
    const std::string logs = suite().logs();
    for (const auto& secret :
         {hook.secret, rotated.string_or("secret", ""), std::string("opensesame")})
        EXPECT_EQ(logs.find(secret), std::string::npos);
    const Said events = suite().berth({"events", "replay", "--from", "1"});
    EXPECT_NE(events.out.find("webhook.subscriber.added"), std::string::npos);
    EXPECT_EQ(events.out.find("opensesame"), std::string::npos);
    EXPECT_EQ(events.out.find("whsec_"), std::string::npos);
    EXPECT_EQ(suite().berth({"webhooks", "remove", hook.id}).exit_code, 0);
}

TEST(EventsSystem, PairingFromTheCommandLine) {
    const Said pair = suite().berth({"chat", "pair"});
    EXPECT_EQ(pair.exit_code, 0) << pair.err;
    EXPECT_TRUE(pair.out.starts_with("/berth pair ")) << pair.out;
    EXPECT_EQ(suite().berth({"chat"}).exit_code, 0);
    EXPECT_EQ(suite().berth({"chat", "unlink", "slack"}).exit_code, 1);
}

TEST(EventsSystem, ItIsSmallWhenIdle) {
    if (kSanitized) GTEST_SKIP() << "a sanitizer's memory is its own";
    suite().kill9("webhook");
    ASSERT_TRUE(suite().wait_ready());
    std::ifstream file("/proc/" + std::to_string(suite().pid("webhook")) + "/status");
    long kib = 0;
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("RssAnon:")) kib = std::stol(line.substr(8));
    }
    std::printf("berth-webhook when idle: %ld KiB of its own\n", kib);
    EXPECT_GT(kib, 0);
    EXPECT_LT(kib, 15 * 1'024);
}

}  // namespace
}  // namespace berth::testing
