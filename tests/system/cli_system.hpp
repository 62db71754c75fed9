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
};

}  // namespace berth::testing
