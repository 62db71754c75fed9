// SPDX-License-Identifier: Apache-2.0
// `berth webhooks`: who is told of events by HTTP.
#include <fmt/format.h>

#include <thread>

#include "berth/webhook/v1/webhook.pb.h"
#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"
#include "cli/words.hpp"
#include "core/json.hpp"
#include "net/http_types.hpp"

namespace berth::cli {
namespace {

namespace wh = berth::webhook::v1;

// How long a test is waited for: longer than one attempt takes.
constexpr milliseconds kTestPatience{35'000};
constexpr milliseconds kTestLook{200};

Error usage(const std::string& what) {
    return invalid("usage", what + "; see 'berth help webhooks'");
}

std::string state_of(const wh::Subscriber& hook) {
    if (hook.state() == wh::SUBSCRIBER_STATE_DISABLED) return "disabled: " + hook.reason();
    return hook.has_failing_since() ? "failing" : "enabled";
}

std::string word_of(wh::DeliveryState state) {
    return enum_word(wh::DeliveryState_Name(state), "DELIVERY_STATE_");
}

void show(const Context& context, const wh::Subscriber& hook) {
    if (context.json()) return context.print(to_json(hook) + "\n");
    std::string subjects;
    for (const auto& subject : hook.subjects()) subjects += " " + subject;
    context.print(fmt::format(
        "{} {} ({}, {} waiting{}){}\n",
        hook.id(),
        printable(hook.url()),
        state_of(hook),
        hook.pending(),
        hook.has_next_attempt_at() ? " until " + when(hook.next_attempt_at()) : "",
        subjects
    ));
}

void show_secret(const Context& context, const gateway::v1::WebhookSecret& made) {
    if (context.json()) return context.print(to_json(made) + "\n");
    context.progress(
        fmt::format("webhook {}; the secret that signs is shown this once:", made.webhook().id())
    );
    context.print(made.secret() + "\n");
}

void show_delivery(const Context& context, const wh::Delivery& delivery) {
    if (context.json()) return context.print(to_json(delivery) + "\n");
    context.print(fmt::format(
        "{} {}{}{}\n",
        delivery.id(),
        word_of(delivery.state()),
        delivery.status() == 0 ? "" : fmt::format(" HTTP {}", delivery.status()),
        delivery.error().empty() ? "" : " (" + printable(delivery.error()) + ")"
    ));
}

class Webhooks {
public:
    Webhooks(const Context& context, const Arguments& arguments, Secret token)
        : context_(context), arguments_(arguments), api_(context.server(), std::move(token)) {}

    Result<void> run() {
        const auto& words = arguments_.operands;
        const std::string action = words.empty() ? "list" : words[0];
        if (action == "list" && words.size() < 2) return list();
        if (words.size() == 3 && action != "replay")
            return usage(fmt::format("berth webhooks {} takes one operand", action));
        if (words.size() < 2)
            return usage(fmt::format(
                "berth webhooks {} takes {}", action, action == "add" ? "<url>" : "<webhook>"
            ));
        what_ = words[1];
        if (action == "add") return add();
        if (action == "show") return changed("GET", "");
        if (action == "set") return set();
        if (action == "enable" || action == "disable")
            return changed("PATCH", Json::object().set("enabled", action == "enable").dump());
        if (action == "remove") return remove();
        if (action == "rotate") return rotate();
        if (action == "test") return test();
        if (action == "deliveries") return deliveries();
        if (action == "replay") return replay();
        return usage(fmt::format("berth webhooks does not know '{}'", action));
    }

private:
    std::string path(std::string_view rest = {}) const { return path_of("webhooks", what_, rest); }

    Result<void> list() {
        BERTH_ASSIGN(
            const auto all, api_.ask<wh::SubscribersReply>("GET", "/v1/webhooks?limit=100")
        );
        if (context_.json()) {
            context_.print(to_json(all) + "\n");
            return {};
        }
        std::vector<std::vector<std::string>> rows = {{"WEBHOOK", "STATE", "URL", "SUBJECTS"}};
        for (const auto& hook : all.subscribers()) {
            std::string subjects;
            for (const auto& subject : hook.subjects())
                subjects += (subjects.empty() ? "" : ", ") + subject;
            rows.push_back({hook.id(), state_of(hook), printable(hook.url()), subjects});
        }
        context_.print(table(rows, context_.color()));
        return {};
    }

    Json body() const {
        Json out = Json::object();
        if (arguments_.has("subject"))
            out.set("subjects", Json::strings(arguments_.all("subject")));
        for (const char* name : {"mode", "description", "url"}) {
            if (arguments_.has(name)) out.set(name, arguments_.get(name));
        }
        return out;
    }

    Result<void> add() {
        if (arguments_.has("url")) return usage("the url is said once, as the operand");
        BERTH_ASSIGN(
            const auto made,
            api_.ask<gateway::v1::WebhookSecret>(
                "POST", "/v1/webhooks", body().set("url", what_).dump()
            )
        );
        show_secret(context_, made);
        return {};
    }

    Result<void> set() {
        const Json change = body();
        if (change.as_object()->empty())
            return usage("say what to change: --url, --subject, --mode or --description");
        return changed("PATCH", change.dump());
    }

    Result<void> changed(std::string_view method, std::string change) {
        BERTH_ASSIGN(const auto hook, api_.ask<wh::Subscriber>(method, path(), std::move(change)));
        show(context_, hook);
        return {};
    }

    Result<void> remove() {
        BERTH_TRY(api_.text("DELETE", path()));
        context_.progress("removed " + what_);
        return {};
    }

    Result<void> rotate() {
        BERTH_ASSIGN(
            const auto made, api_.ask<gateway::v1::WebhookSecret>("POST", path("/rotate"))
        );
        show_secret(context_, made);
        return {};
    }

    Result<void> test() {
        BERTH_ASSIGN(auto delivery, api_.ask<wh::Delivery>("POST", path("/test")));
        const auto until = std::chrono::steady_clock::now() + kTestPatience;
        const auto waiting = [&] {
            return delivery.state() == wh::DELIVERY_STATE_PENDING && delivery.attempts() == 0;
        };
        while (waiting() && std::chrono::steady_clock::now() < until) {
            std::this_thread::sleep_for(kTestLook);
            BERTH_ASSIGN(
                const auto log, api_.ask<wh::DeliveriesReply>("GET", path("/deliveries?limit=100"))
            );
            for (const auto& each : log.deliveries()) {
                if (each.id() == delivery.id()) delivery = each;
            }
        }
        show_delivery(context_, delivery);
        if (delivery.state() == wh::DELIVERY_STATE_DELIVERED) return {};
        if (delivery.attempts() > 0)
            return unavailable("not_delivered", "the test event was not taken");
        BERTH_ASSIGN(const auto hook, api_.ask<wh::Subscriber>("GET", path()));
        return unavailable("not_sent", not_sent(hook, delivery));
    }

    static std::string not_sent(const wh::Subscriber& hook, const wh::Delivery& delivery) {
        std::string out = "the test event was not sent yet: the webhook is " + state_of(hook);
        if (delivery.has_next_attempt_at())
            out += ", next attempt at " + when(delivery.next_attempt_at());
        return out + "; see 'berth webhooks deliveries " + hook.id() + "'";
    }

    Result<void> deliveries() {
        std::string where =
            "/deliveries?limit=" + net::percent_encode(arguments_.get("limit", "20"));
        for (const char* name : {"state", "cursor"}) {
            if (arguments_.has(name))
                where += fmt::format("&{}={}", name, net::percent_encode(arguments_.get(name)));
        }
        BERTH_ASSIGN(const auto log, api_.ask<wh::DeliveriesReply>("GET", path(where)));
        if (context_.json()) {
            context_.print(to_json(log) + "\n");
            return {};
        }
        const WallTime now = Clock::system().now();
        std::vector<std::vector<std::string>> rows = {
            {"DELIVERY", "STATE", "TRIES", "HTTP", "AGE", "SUBJECT", "ERROR"}};
        for (const auto& each : log.deliveries())
            rows.push_back(
                {each.id(),
                 word_of(each.state()),
                 std::to_string(each.attempts()),
                 each.status() == 0 ? "-" : std::to_string(each.status()),
                 age(each.created_at(), now),
                 printable(each.subject()),
                 each.error().empty() ? "-" : printable(each.error())}
            );
        context_.print(table(rows, context_.color()));
        if (!log.next_cursor().empty())
            context_.progress("there are more: --cursor " + log.next_cursor());
        return {};
    }

    Result<void> replay() {
        Json body = Json::object();
        if (arguments_.operands.size() == 3) {
            body.set("delivery", arguments_.operands[2]);
        } else if (arguments_.has("since")) {
            const auto since = parse_duration(arguments_.get("since"));
            if (!since || since->count() <= 0) return usage("--since must be a duration like 2h");
            body.set("since", to_rfc3339(Clock::system().now() - *since));
            body.set("failed_only", arguments_.has("failed"));
        } else {
            return usage("say what to send again: a delivery, or --since");
        }
        BERTH_ASSIGN(const auto done, api_.ask<wh::Replayed>("POST", path("/replay"), body.dump()));
        context_.print(
            context_.json()
                ? to_json(done) + "\n"
                : fmt::format(
                      "{} to be sent again{}\n",
                      done.deliveries(),
                      done.waiting() == 0 ? "" : fmt::format(", {} waiting already", done.waiting())
                  )
        );
        return {};
    }

    const Context& context_;
    const Arguments& arguments_;
    Api api_;
    std::string what_;
};

}  // namespace

int run_webhooks(Context& context, const Arguments& arguments) {
    auto token = context.token();
    const auto done =
        token ? Webhooks(context, arguments, std::move(*token)).run() : Result<void>(token.error());
    if (done) return 0;
    context.complain(done.error());
    return done.error().code == "usage" ? kExitUsage : 1;
}

}  // namespace berth::cli
