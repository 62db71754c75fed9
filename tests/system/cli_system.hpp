// SPDX-License-Identifier: Apache-2.0
// What the tests of the command line share: the deployment's sign-in provider and their words.
#pragma once

#include <cstdlib>

#include "system.hpp"

namespace berth::testing {

// The fake sign-in provider, where it can run.
inline std::unique_ptr<Running> provider;
inline std::string provider_url;

inline void start_provider() {
    const char* source = std::getenv("BERTH_SOURCE_DIR");
    if (source == nullptr) return;
    const std::string fake = std::string(source) + "/tests/fakes/sign_in/fake.py";
    provider = launch({"/usr/bin/python3", "-B", fake}, "/", {}, false);
    if (!provider->wait_out("}\n", seconds{20})) return provider.reset();
    const auto port = Json::parse(provider->out())->int_or("port", 0);
    provider_url = "http://127.0.0.1:" + std::to_string(port);
}

using Env = std::map<std::string, std::string>;

class CliSystem : public SystemTest {
protected:
    static std::string only_run_of(const std::string& lease) {
        const auto runs = json_of(suite().api("GET", "/v1/runs?lease=" + lease).body);
        const Json* list = runs.find("runs");
        return list == nullptr || list->as_array()->empty()
                   ? ""
                   : list->as_array()->front().string_or("id", "");
    }
    static Said with(
        const std::map<std::string, std::string>& env,
        const std::vector<std::string>& arguments,
        const std::string& input = {}
    ) {
        Suite::CommandOptions options;
        options.env = env;
        options.input = input;
        return suite().berth(arguments, options);
    }
    // An operator who is not an admin.
    static Env somebody(const std::string& name) {
        const Said made = suite().berth({"tokens", "create", "--user", name, "--role", "operator"});
        EXPECT_EQ(made.exit_code, 0) << made.err;
        return {{"BERTH_TOKEN", made.out.substr(0, made.out.find('\n'))}};
    }
    static std::string lease_of(const Env& owner) {
        const Said said = with(owner, {"lease", "--new", "--json"});
        EXPECT_EQ(said.exit_code, 0) << said.err;
        return json_of(said.out).string_or("slug", "");
    }
    static std::unique_ptr<Running> begin(
        const Env& env, const std::vector<std::string>& arguments
    ) {
        Suite::CommandOptions options;
        options.env = env;
        options.no_input = false;
        return suite().start(arguments, options);
    }
    // A shell that was asked something and waits for more.
    static std::unique_ptr<Running> open_shell(const Env& env, const std::string& lease) {
        auto running = begin(env, {"run", "--no-sync", "--tty", "--lease", lease, "--", "sh"});
        running->write_in("echo up-$((1 + 1))\n");
        EXPECT_TRUE(running->wait_out("up-2")) << suite().logs();
        return running;
    }
    static std::string live_run(const Env& env, const std::string& lease) {
        const Json list = json_of(with(env, {"runs", "--lease", lease, "--json"}).out);
        const Json* runs = list.find("runs");
        if (runs == nullptr) return "";
        for (const Json& run : *runs->as_array()) {
            if (run.find("ended_at") == nullptr) return run.string_or("id", "");
        }
        return "";
    }
};

}  // namespace berth::testing
