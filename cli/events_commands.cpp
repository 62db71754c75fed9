// SPDX-License-Identifier: Apache-2.0
// `berth events`: following and replaying them, and credentials for programs that read the bus.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <optional>
#include <thread>

#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/event_feed.hpp"
#include "cli/exit_codes.hpp"
#include "cli/output_file.hpp"
#include "cli/signal_thread.hpp"
#include "cli/words.hpp"
#include "core/fd.hpp"
#include "core/json.hpp"

namespace berth::cli {
namespace {

Error usage_of_events(const std::string& what) {
    return invalid("usage", what + "; see 'berth help events'");
}

/// What each action takes besides --org.
struct EventAction {
    std::string_view name;
    std::vector<std::string_view> flags;
    bool names_one = false;  ///< a reader, as its operand
};

const std::vector<EventAction>& event_actions() {
    static const std::vector<EventAction> all{
        {"tail", {"subject", "from"}},
        {"replay", {"subject", "from"}},
        {"credentials", {"name", "life", "output"}},
        {"readers", {}},
        {"revoke", {}, true}};
    return all;
}

Result<void> check_event_action(const EventAction& action, const Arguments& arguments) {
    for (const Flag& flag : arguments.command->flags) {
        const bool takes =
            flag.name == "org" ||
            std::find(action.flags.begin(), action.flags.end(), flag.name) != action.flags.end();
        if (!takes && arguments.has(flag.name))
            return usage_of_events(
                fmt::format("berth events {} does not take --{}", action.name, flag.name)
            );
    }
    const std::size_t more = arguments.operands.empty() ? 0 : arguments.operands.size() - 1;
    if (action.names_one && more == 0)
        return usage_of_events(fmt::format("say whose: berth events {} <name>", action.name));
    if (!action.names_one && more > 0)
        return usage_of_events(fmt::format("berth events {} takes nothing more", action.name));
    const std::string from = arguments.get("from", "0");
    std::uint64_t sequence = 0;
    const auto [end, error] = std::from_chars(from.data(), from.data() + from.size(), sequence);
    if (error != std::errc() || end != from.data() + from.size())
        return usage_of_events("--from takes the sequence of an event, a whole number");
    return {};
}

Result<void> check_own_org(Api& api, const Arguments& arguments) {
    if (!arguments.has("org")) return {};
    BERTH_ASSIGN(const auto who, api.whoami());
    if (who.org() == arguments.get("org")) return {};
    return usage_of_events(
        fmt::format("your token is of org {}, not of {}", who.org(), arguments.get("org"))
    );
}

/// A signal that ends the command says where to go on, and ends it then.
class Parting {
public:
    explicit Parting(std::function<void()> say)
        : say_(std::move(say)),
          thread_(std::in_place, ending(), [this](int number) { end(number); }) {}
    ~Parting() {
        thread_.reset();
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    Parting(const Parting&) = delete;
    Parting& operator=(const Parting&) = delete;

private:
    static sigset_t mask_now() {
        sigset_t mask;
        pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        return mask;
    }
    static std::vector<int> ending() {
        std::vector<int> out;
        for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
            struct sigaction now {};
            sigaction(number, nullptr, &now);
            if (now.sa_handler != SIG_IGN) out.push_back(number);  // nohup
        }
        return out;
    }
    void end(int number) const {
        say_();
        sigset_t one;
        sigemptyset(&one);
        sigaddset(&one, number);
        std::signal(number, SIG_DFL);
        pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
        std::raise(number);
    }
    const std::function<void()> say_;
    const sigset_t before_ = mask_now();
    std::optional<SignalThread> thread_;
};

Result<void> print_events(
    const Context& context, Api& api, const Arguments& arguments, bool stored_only
) {
    context.begin_stream();
    EventFeed feed([&](std::string_view data) { return context.stream(data); });
    Following wanted;
    wanted.subject = arguments.get("subject");
    wanted.from = arguments.get("from", stored_only ? "1" : "");
    wanted.stored_only = stored_only;
    wanted.say = [&](const std::string& text) { context.progress(text); };
    wanted.pause = [](milliseconds pause) { std::this_thread::sleep_for(pause); };
    const auto say_place = [&] {
        if (const auto last = feed.last())
            context.progress(fmt::format("--from {} goes on from here", *last + 1));
    };
    Result<void> done;
    {
        const Parting parting(say_place);
        done = follow(api, feed, wanted);
    }
    say_place();
    return done;
}

Result<void> make_credential(const Context& context, Api& api, const Arguments& arguments) {
    std::optional<OutputFile> output;
    if (arguments.has("output")) {
        BERTH_ASSIGN(auto prepared, OutputFile::prepare(arguments.get("output")));
        output.emplace(std::move(prepared));
    }
    std::string name = arguments.get("name");
    if (name.empty()) {
        BERTH_ASSIGN(const auto who, api.whoami());
        name = who.user();
    }
    Json body = Json::object().set("name", name);
    if (arguments.has("life")) body.set("life", arguments.get("life"));
    BERTH_ASSIGN(
        auto reader, api.ask<gateway::v1::EventReader>("POST", "/v1/event_readers", body.dump())
    );
    if (output) {
        if (const auto written = output->write(reader.creds()); !written) {
            Error error = written.error();
            error.message += "; the credential is lost, the same command again makes another";
            return error;
        }
        reader.clear_creds();
    }
    if (context.json()) {
        context.print(to_json(reader) + "\n");
        return {};
    }
    context.progress(fmt::format(
        "reader {} of {} until {}; durable {} of stream {}, inbox prefix {}, subject {}",
        reader.name(),
        reader.nats_url(),
        when(reader.expires_at()),
        reader.durable(),
        reader.stream(),
        reader.inbox_prefix(),
        reader.subject()
    ));
    context.print(reader.creds());
    return {};
}

Result<void> list_readers(const Context& context, Api& api) {
    BERTH_ASSIGN(
        const auto all, api.ask<gateway::v1::EventReaders>("GET", "/v1/event_readers?limit=100")
    );
    if (context.json()) {
        context.print(to_json(all) + "\n");
        return {};
    }
    const WallTime now = Clock::system().now();
    std::vector<std::vector<std::string>> rows = {{"READER", "DURABLE", "BY", "ENDS"}};
    for (const auto& reader : all.readers())
        rows.push_back(
            {reader.name(), reader.durable(), reader.created_by(), age(reader.expires_at(), now)}
        );
    context.print(table(rows, context.color()));
    return {};
}

Result<void> act_on_events(const Context& context, Api& api, const Arguments& arguments) {
    const auto& words = arguments.operands;
    const std::string name = words.empty() ? "tail" : words[0];
    const auto action =
        std::find_if(event_actions().begin(), event_actions().end(), [&](const EventAction& each) {
            return each.name == name;
        });
    if (action == event_actions().end())
        return usage_of_events(fmt::format("berth events does not know '{}'", name));
    BERTH_TRY(check_event_action(*action, arguments));
    BERTH_TRY(check_own_org(api, arguments));
    if (name == "credentials") return make_credential(context, api, arguments);
    if (name == "readers") return list_readers(context, api);
    if (name != "revoke") return print_events(context, api, arguments, name == "replay");
    BERTH_TRY(api.text("DELETE", path_of("event_readers", words[1])));
    context.progress("dropped " + words[1]);
    return {};
}

}  // namespace

int run_events(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    const auto done = act_on_events(context, api, arguments);
    return done ? 0 : fail(context, done.error());
}

}  // namespace berth::cli
