// SPDX-License-Identifier: Apache-2.0
// `berth profiles`: the kinds of machines, and changing them while the deployment runs.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"
#include "cli/words.hpp"
#include "config/config.hpp"
#include "core/json.hpp"
#include "core/text.hpp"
#include "net/http_types.hpp"

namespace berth::cli {
namespace {

using lease::v1::Profile;

Error usage(const std::string& what) {
    return invalid("usage", what + "; see 'berth help profiles'");
}

std::string path_of_profile(const std::string& name) {
    return "/v1/profiles/" + net::percent_encode(name);
}

/// A file of a profile's keys, as they stand in berth.yaml below its name.
Result<Json> read_recipe(const std::string& file) {
    BERTH_ASSIGN(const config::Document document, config::Document::load(file));
    if (!document.root().is_map())
        return usage(file + " must hold the profile's keys, as 'driver: docker'");
    Json out = Json::object();
    for (const auto& [key, value] : document.root().entries()) {
        if (value.is_map()) return usage(fmt::format("{}: no key of a profile is a map", key));
        if (value.is_null()) continue;
        if (value.is_list()) {
            BERTH_ASSIGN(const auto items, value.get_list());
            out.set(key, Json::strings(items));
        } else {
            BERTH_ASSIGN(const std::string text, value.get_string());
            out.set(key, text);
        }
    }
    return out;
}

/// "A, B" or, as `show` has it, "[A, B]".
std::vector<std::string> list_items(std::string_view value) {
    if (value.size() >= 2 && value.front() == '[' && value.back() == ']')
        value = value.substr(1, value.size() - 2);
    std::vector<std::string> items;
    for (const std::string_view word : split(value, ',')) {
        if (std::string item = trimmed(word); !item.empty()) items.push_back(std::move(item));
    }
    return items;
}

/// key=value words; a comma makes a list of a key that is one.
Result<Json> recipe_of(const Arguments& arguments) {
    const auto& words = arguments.operands;
    if (arguments.has("file")) {
        if (words.size() > 2) return usage("give --file or key=value, not both");
        return read_recipe(arguments.get("file"));
    }
    Json out = Json::object();
    for (std::size_t i = 2; i < words.size(); ++i) {
        const auto equals = words[i].find('=');
        if (equals == std::string::npos || equals == 0)
            return usage(fmt::format("'{}' is not key=value", words[i]));
        const std::string key = words[i].substr(0, equals);
        const std::string value = words[i].substr(equals + 1);
        const bool is_list = key == "env" || key == "types" || key == "locations";
        if (out.find(key) != nullptr)
            return usage(fmt::format(
                "'{}' is given twice{}", key, is_list ? "; a list is one word: " + key + "=A,B" : ""
            ));
        if (is_list)
            out.set(key, Json::strings(list_items(value)));
        else
            out.set(key, value);
    }
    if (out.as_object()->empty())
        return usage("say what it is: key=value, as driver=docker image=debian, or --file");
    return out;
}

/// As a settings file has it: in quotes where a plain word would be read as something else.
std::string scalar(const std::string& text) {
    const bool plain = !text.empty() && std::isalnum(static_cast<unsigned char>(text[0])) != 0 &&
                       text.back() != ':' && text != "null" && text != "Null" && text != "NULL" &&
                       std::all_of(text.begin(), text.end(), [](unsigned char c) {
                           return std::isalnum(c) != 0 ||
                                  std::string_view("_-.*/:@+").find(static_cast<char>(c)) !=
                                      std::string_view::npos;
                       });
    return plain ? text : Json(text).dump();
}

template <typename Words>
std::string list_text(const Words& words) {
    std::string out;
    for (const auto& word : words) out += (out.empty() ? "" : ", ") + scalar(word);
    return "[" + out + "]";
}

std::string duration_key(const google::protobuf::Duration& duration) {
    return format_duration(milliseconds(duration.seconds() * 1'000 + duration.nanos() / 1'000'000));
}

/// As berth.yaml and --file have it; what is not said is not shown.
std::string recipe_text(const Profile& profile) {
    std::string out;
    const auto line = [&out](const char* key, const std::string& value) {
        out += fmt::format("{}: {}\n", key, value);
    };
    const auto text = [&](const char* key, const std::string& value) {
        if (!value.empty()) line(key, scalar(value));
    };
    const auto number = [&](const char* key, std::uint64_t value) {
        if (value != 0) line(key, std::to_string(value));
    };
    line("driver", scalar(profile.driver()));
    line("ttl", duration_key(profile.ttl()));
    line("idle_timeout", duration_key(profile.idle_timeout()));
    line("network", profile.network() ? "true" : "false");
    text("guard", profile.guard());
    line("env", list_text(profile.env_allow()));
    number("output_cap", profile.output_cap_bytes());
    if (profile.has_run_timeout()) line("run_timeout", duration_key(profile.run_timeout()));
    number("parallel_runs", profile.parallel_runs());
    text("image", profile.image());
    if (profile.types_size() > 0) line("types", list_text(profile.types()));
    if (profile.locations_size() > 0) line("locations", list_text(profile.locations()));
    if (profile.cpu_millis() > 0) line("cpus", fmt::format("{}", profile.cpu_millis() / 1'000.0));
    number("memory", profile.memory_bytes());
    number("pids", profile.pids());
    number("disk_gib", profile.disk_gib());
    if (profile.spot()) line("spot", "true");
    if (profile.ssh()) line("ssh", "true");
    number("warm_min", profile.warm_min());
    number("max_machines", profile.max_machines());
    number("price_micros_per_hour", profile.price_micros_per_hour());
    return out;
}

void show(const Context& context, const Profile& profile) {
    if (context.json()) return context.print(to_json(profile) + "\n");
    const std::string where = profile.source() == "file"  ? "the deployment's settings file"
                              : profile.source() == "api" ? "set by an admin"
                                                          : "built in";
    context.print(fmt::format("# profile {}: {}\n", profile.name(), where) + recipe_text(profile));
}

Result<void> list(const Context& context, Api& api) {
    BERTH_ASSIGN(const auto reply, api.ask<lease::v1::ProfilesReply>("GET", "/v1/profiles"));
    if (context.json()) {
        context.print(to_json(reply) + "\n");
        return {};
    }
    const std::string used = context.settings().text("profile");
    std::vector<std::vector<std::string>> rows = {
        {"PROFILE", "DRIVER", "TTL", "IDLE TIMEOUT", "NETWORK", "WARM", "MAX", "PRICE/H", "FROM"}};
    for (const auto& profile : reply.profiles()) {
        rows.push_back(
            {profile.name() + (profile.name() == used ? " *" : ""),
             profile.driver(),
             duration_key(profile.ttl()),
             duration_key(profile.idle_timeout()),
             profile.network() ? "yes" : "no",
             std::to_string(profile.warm_min()),
             profile.max_machines() == 0 ? "-" : std::to_string(profile.max_machines()),
             profile.price_micros_per_hour() == 0 ? "-" : money(profile.price_micros_per_hour()),
             profile.source()}
        );
    }
    context.print(table(rows, context.color()));
    return {};
}

Result<void> act(const Context& context, Api& api, const Arguments& arguments) {
    const auto& words = arguments.operands;
    if (words.empty() || words[0] == "list") return list(context, api);
    if (words[0] != "show" && words[0] != "set" && words[0] != "remove")
        return usage(fmt::format("there is no 'berth profiles {}'", words[0]));
    if (words.size() < 2 || (words[0] != "set" && words.size() > 2))
        return usage(fmt::format("berth profiles {} takes one profile", words[0]));
    const std::string path = path_of_profile(words[1]);
    if (words[0] == "remove") {
        BERTH_TRY(api.text("DELETE", path));
        context.progress(fmt::format("profile {} is removed; its leases go on", words[1]));
        return {};
    }
    std::string body;
    if (words[0] == "set") {
        BERTH_ASSIGN(const Json recipe, recipe_of(arguments));
        body = recipe.dump();
    }
    BERTH_ASSIGN(
        const auto profile, api.ask<Profile>(words[0] == "set" ? "PUT" : "GET", path, body)
    );
    show(context, profile);
    return {};
}

}  // namespace

int run_profiles(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    const auto done = act(context, api, arguments);
    return done ? 0 : fail(context, done.error());
}

}  // namespace berth::cli
