// SPDX-License-Identifier: Apache-2.0
// Starting the fakes and reading what they tell.
#include "support/cloud/fake_cloud.hpp"

#include <stdexcept>

#include "core/text.hpp"

namespace berth::testing {
namespace {

const char* const kHetznerKinds[] = {"servers", "ssh_keys", "primary_ips", "volumes"};

[[noreturn]] void fail(const std::string& why) { throw std::runtime_error(why); }

std::string label(const Json& item, const char* map, const char* name) {
    const Json* labels = item.find(map);
    return labels == nullptr ? "" : labels->string_or(name, "");
}

/// base64 as RFC 4648 has it, for what the fake kept of a request.
std::string decode_base64(std::string text) {
    for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
    while (text.ends_with('=')) text.pop_back();
    return decode_base64url(text).value_or("");
}

}  // namespace

FakeCloud::FakeCloud(Kind kind)
    : kind_(kind),
      server_(
          kind == Kind::kHetzner ? "hetzner/fake.py" : "aws/ec2_fake.py",
          kind == Kind::kHetzner ? std::vector<std::string>{"--token", kHetznerToken}
                                 : std::vector<std::string>{}
      ) {}

Json FakeCloud::control(const std::string& method, const std::string& name, const Json& body) {
    http::Client client;
    http::Request request;
    request.method = method;
    request.url = server_.url() + "/_control/" + name;
    if (!body.is_null()) request.body = body.dump();
    const auto response = client.send(request);
    if (!response || response->status != 200)
        fail("the fake: " + name + (response ? response->body : response.error().describe()));
    return Json::parse(response->body, {64U << 20U, 64}).value();
}

std::map<std::string, std::string> FakeCloud::running() {
    std::map<std::string, std::string> found;
    if (kind_ == Kind::kHetzner) {
        std::map<std::string, std::string> told;
        const Json log = control("GET", "log");
        for (const Json& entry : *log.as_array()) {
            const Json* body = entry.find("body");
            if (entry.string_or("template", "") == "/servers" && body != nullptr &&
                body->find("user_data") != nullptr)
                told[body->string_or("name", "")] = body->string_or("user_data", "");
        }
        const Json state = control("GET", "state");
        for (const Json& server : *state.find("servers")->as_array()) {
            if (server.string_or("status", "") == "running")
                found[std::to_string(server.int_or("id", 0))] = told[server.string_or("name", "")];
        }
        return found;
    }
    const Json told = control("GET", "user_data");
    const Json all = control("GET", "inventory");
    for (const Json& instance : *all.find("instances")->as_array()) {
        if (instance.string_or("state", "") == "running")
            found[instance.string_or("id", "")] =
                decode_base64(told.string_or(instance.string_or("token", ""), ""));
    }
    return found;
}

std::string FakeCloud::inventory() {
    std::string text;
    if (kind_ == Kind::kHetzner) {
        const Json state = control("GET", "state");
        for (const char* kind : kHetznerKinds) {
            for (const Json& item : *state.find(kind)->as_array())
                text += std::string(kind) + " " + item.string_or("name", "") + "\n";
        }
        return text;
    }
    const Json all = control("GET", "inventory");
    for (const char* kind : {"instances", "keys", "groups", "volumes"}) {
        for (const Json& item : *all.find(kind)->as_array()) {
            const std::string state = item.string_or("state", "");
            const std::string machine = label(item, "tags", "berth:machine");
            // An ended instance stays listed for an hour; the group that all share has no machine.
            if (state == "terminated" || (machine.empty() && kind == std::string("groups")))
                continue;
            text += std::string(kind) + " " + item.string_or("id", "") + " " + machine + " " +
                    state + "\n";
        }
    }
    return text;
}

std::string FakeCloud::complaints() {
    if (kind_ == Kind::kAws) return {};
    const Json state = control("GET", "state");
    std::string text;
    for (const char* what : {"violations", "flaws"}) {
        for (const Json& sentence : *state.find(what)->as_array()) text += sentence.dump() + "\n";
    }
    return text;
}

void FakeCloud::kill_at(pid_t pid, int request, bool after) {
    control("POST", "kill", Json::object().set("pid", pid).set("at", request).set("after", after));
}

int FakeCloud::requests() {
    if (kind_ == Kind::kHetzner)
        return static_cast<int>(control("GET", "state").int_or("requests", 0));
    return static_cast<int>(control("GET", "log").as_array()->size());
}

void FakeCloud::reset() { control("POST", "reset", Json::object()); }

}  // namespace berth::testing
