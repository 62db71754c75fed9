// SPDX-License-Identifier: Apache-2.0
// Making machines at a provider that is full, slow, or forgets to answer.
#include <gtest/gtest.h>

#include <thread>

#include "provisioner/drivers/hetzner/hetzner_fixture.hpp"
#include "support/eventually.hpp"

namespace berth::prov::testing {
namespace {

// --- what is made ------------------------------------------------------------------------------

TEST_F(Hetzner, EverythingMadeIsMarkedAndNothingIsOpen) {
    expect_created();
    EXPECT_EQ(attempted(), "cx22 in fsn1 created");
    for (const char* kind : {"servers", "ssh_keys", "primary_ips"}) {
        ASSERT_FALSE(world_.all(kind).empty()) << kind;
        for (const Json& item : world_.all(kind)) {
            EXPECT_TRUE(hetzner::is_ours(item, world_.deployment_label(), spec_.machine)) << kind;
            EXPECT_EQ(hetzner::label_of(item, hetzner::kLeaseLabel), spec_.lease);
            EXPECT_EQ(hetzner::label_of(item, hetzner::kOrgLabel), spec_.org);
            EXPECT_EQ(hetzner::label_of(item, hetzner::kCommandLabel), spec_.command);
        }
    }
    const Json order = *orders().at(0).find("body");
    EXPECT_EQ(order.string_or("user_data", ""), world_.boot.user_data(spec_)->reveal());
    EXPECT_EQ(order.find("ssh_keys")->as_array()->size(), 1U) << "or a root password is mailed";
    EXPECT_EQ(order.string_or("image", ""), "debian-12");
    const auto firewalls = world_.all("firewalls");
    ASSERT_EQ(firewalls.size(), 1U);
    EXPECT_EQ(firewalls[0].find("rules")->dump(), "[]") << "no rule: nothing comes in";
    EXPECT_EQ(firewalls[0].find("applied_to")->as_array()->size(), 1U);
    expect_destroyed();
    EXPECT_EQ(world_.count("firewalls"), 1) << "the deployment's, not the machine's";
}

TEST_F(Hetzner, OneFirewallServesAllMachinesAndOneMoreThoseWithSsh) {
    expect_created();
    const MachineSpec first = spec_;
    spec_ = world_.make_spec();
    ASSERT_TRUE(create());
    EXPECT_EQ(world_.count("firewalls"), 1);
    spec_ = world_.make_spec();
    spec_.profile.set_ssh(true);
    ASSERT_TRUE(create());
    ASSERT_EQ(world_.count("firewalls"), 2);
    const Json ssh = world_.all("firewalls").at(1);
    ASSERT_EQ(ssh.find("rules")->as_array()->size(), 1U);
    EXPECT_EQ(ssh.find("rules")->as_array()->at(0).string_or("port", ""), "2222");
}

TEST_F(Hetzner, AFirewallThatSomebodyOpenedIsNotUsed) {
    world_.plant(
        "firewalls",
        Json::parse(
            R"({"name":")" + hetzner::firewall_name(world_.deployment_label(), false) +
            R"(","created":"2024-01-30T23:55:00Z","applied_to":[],"labels":{"berth-deployment":")" +
            world_.deployment_label() + R"("},"rules":[{"description":null,"direction":"in",
        "protocol":"tcp","port":"22","source_ips":["0.0.0.0/0"],"destination_ips":[]}]})"
        )
            .value()
    );
    const auto made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, "firewall_changed");
    EXPECT_TRUE(orders().empty());
}

TEST_F(Hetzner, AFirewallDeletedBetweenTwoMachinesIsMadeAnew) {
    const auto driver = world_.start_driver();
    ASSERT_TRUE(driver->create(spec_, attempts_));
    ASSERT_TRUE(driver->destroy(spec_.machine));
    const std::int64_t first = world_.all("firewalls").front().int_or("id", 0);
    ASSERT_EQ(world_.ask("DELETE", "/firewalls/" + std::to_string(first)), 204);
    spec_ = world_.make_spec();
    const auto made = driver->create(spec_, attempts_);
    ASSERT_TRUE(made) << made.error().describe();
    ASSERT_EQ(world_.count("firewalls"), 1);
    EXPECT_NE(world_.all("firewalls").front().int_or("id", 0), first);
}

TEST_F(Hetzner, AFirewallOpenedBetweenTwoMachinesIsNotUsed) {
    auto opened = std::make_shared<std::atomic<bool>>(false);
    const auto sender = [opened, inner = http::make_sender()](const http::Request& request) {
        auto response = inner(request);
        const bool list =
            request.method == "GET" && request.url.find("/firewalls") != request.url.npos;
        const std::string none = R"("rules": [])";
        const auto at = response ? response->body.find(none) : std::string::npos;
        if (*opened && list && at != std::string::npos)
            response->body.replace(
                at,
                none.size(),
                R"("rules":[{"direction":"in","protocol":"tcp","port":"22","source_ips":["::/0"]}])"
            );
        return response;
    };
    world_.settings.firewall_every = milliseconds{0};
    HetznerDriver driver(world_.settings, world_.boot, sender);
    ASSERT_TRUE(driver.create(spec_, attempts_));
    *opened = true;
    spec_ = world_.make_spec();
    const auto made = driver.create(spec_, attempts_);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, "firewall_changed");
}

TEST_F(Hetzner, AddressFamiliesAreThoseOfTheSettings) {
    world_.settings.ipv4 = false;
    expect_created();
    const auto addresses = world_.all("primary_ips");
    ASSERT_EQ(addresses.size(), 1U);
    EXPECT_EQ(addresses[0].string_or("type", ""), "ipv6");
    expect_destroyed();
}

// --- fallback ----------------------------------------------------------------------------------

struct Refusal {
    int status;
    const char* code;
    const char* message;
};

class HetznerRefuses : public Hetzner, public ::testing::WithParamInterface<Refusal> {
protected:
    std::string error_line(const std::string& rest) const {
        const Refusal& refusal = GetParam();
        return R"({"method":"POST","path":"/servers","kind":"error","status":)" +
               std::to_string(refusal.status) + R"(,"code":")" + refusal.code + R"(","message":")" +
               refusal.message + R"(","headers":{"Retry-After":"0"})" + rest + "}";
    }
};

TEST_P(HetznerRefuses, TheNextTypeIsTaken) {
    world_.fault(error_line(R"(,"when":{"server_type":"cx22"})"));
    expect_created();
    EXPECT_EQ(
        attempted(), std::string("cx22 in fsn1 ") + GetParam().code + ", cx32 in fsn1 created"
    );
    EXPECT_EQ(attempts_[0].message, GetParam().message);
}

TEST_P(HetznerRefuses, ThenTheNextLocation) {
    world_.fault(error_line(R"(,"when":{"location":"fsn1"},"times":2)"));
    expect_created();
    const std::string code = GetParam().code;
    EXPECT_EQ(
        attempted(), "cx22 in fsn1 " + code + ", cx32 in fsn1 " + code + ", cx22 in nbg1 created"
    );
}

TEST_P(HetznerRefuses, AnExplicitTypeDoesNotFallBackAndExhaustionNamesEachAttempt) {
    types({"cx22"});
    const bool limited = GetParam().status == 429;  // each is asked once more when it has passed
    world_.fault(error_line(R"(,"times":)" + std::string(limited ? "4" : "2")));
    const auto made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().fault, Fault::kUnavailable);
    EXPECT_EQ(made.error().code, kCapacityExhausted);
    for (const char* word : {"cx22 in fsn1", "cx22 in nbg1", GetParam().code})
        EXPECT_NE(made.error().message.find(word), std::string::npos) << made.error().message;
    for (const Json& order : orders())
        EXPECT_EQ(order.find("body")->string_or("server_type", ""), "cx22");
    EXPECT_EQ(attempts_.size(), limited ? 4U : 2U);
    EXPECT_EQ(world_.leftovers(), 0) << "no key stays for a machine that never was";
}

INSTANTIATE_TEST_SUITE_P(
    All,
    HetznerRefuses,
    ::testing::Values(
        Refusal{412, "resource_unavailable", "error during placement"},
        Refusal{412, "placement_error", "error during placement"},
        Refusal{403, "resource_limit_exceeded", "server limit reached"},
        Refusal{403, "dedicated_core_limit", "dedicated core limit exceeded"},
        Refusal{412, "a_code_of_tomorrow", "a precondition of placement failed"},
        Refusal{403, "some_new_limit", "limit reached"},
        Refusal{422, "invalid_input", "unsupported location for server type"},
        Refusal{429, "rate_limit_exceeded", "limit reached"}
    ),
    [](const auto& test) {
        return std::string(test.param.code) + std::to_string(test.param.status);
    }
);

TEST_F(Hetzner, ATypeThatIsNotSoldSomewhereIsTakenWhereItIs) {
    types({"cx92"});
    locations({"fsn1", "hel1"});
    expect_created();
    EXPECT_EQ(attempted(), "cx92 in fsn1 invalid_input, cx92 in hel1 created");
}

TEST_F(Hetzner, ATypeOfAnotherArchitectureThanTheImageIsPassedOver) {
    spec_.profile.set_image("ubuntu-24.04");
    types({"cax11", "cpx11"});
    expect_created();
    EXPECT_EQ(attempted(), "cax11 in fsn1 invalid_input, cpx11 in fsn1 created");
}

TEST_F(Hetzner, WhatIsWrongEverywhereIsAskedOnce) {
    spec_.profile.set_image("no-such-image");
    const auto made = create();
    ASSERT_FALSE(made);
    EXPECT_FALSE(is_retryable(made.error().fault)) << made.error().describe();
    EXPECT_EQ(orders().size(), 1U);
    expect_destroyed();
}

TEST_F(Hetzner, ARateLimitIsWaitedFor) {
    types({"cx22"});
    locations({"fsn1"});
    world_.fault(R"({"method":"POST","path":"/servers","kind":"error","status":429,
        "code":"rate_limit_exceeded","headers":{"Retry-After":"1"}})");
    expect_created();
    const auto sent = orders();
    ASSERT_EQ(sent.size(), 2U);
    EXPECT_GE(*sent[1].find("at")->as_double() - *sent[0].find("at")->as_double(), 0.95);
    EXPECT_EQ(attempted(), "cx22 in fsn1 rate_limit_exceeded, cx22 in fsn1 created");
}

TEST_F(Hetzner, ARateLimitLongerThanTheDeadlineIsExhaustionAtOnce) {
    world_.fault(R"({"method":"POST","path":"/servers","kind":"error","status":429,
        "code":"rate_limit_exceeded","headers":{"Retry-After":"600"}})");
    const auto began = std::chrono::steady_clock::now();
    const auto made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, kCapacityExhausted) << made.error().describe();
    EXPECT_LT(std::chrono::steady_clock::now() - began, seconds{20});
    EXPECT_EQ(orders().size(), 1U);
    EXPECT_EQ(attempts_.front().target, "cx22 in fsn1");
}

// --- answers that do not come --------------------------------------------------------------------

class HetznerLosesAnswers
    : public Hetzner,
      public ::testing::WithParamInterface<std::pair<const char*, const char*>> {};

TEST_P(HetznerLosesAnswers, TheMachineIsMadeOnce) {
    const auto& [path, kind] = GetParam();
    world_.fault(
        R"({"method":"POST","path":")" + std::string(path) +
        R"(","status":502,"code":"server_error",
        "kind":")" +
        kind + R"("})"
    );
    expect_created();
    EXPECT_EQ(world_.count("firewalls"), 1);
    if (std::string_view(kind) == "cut" || std::string_view(kind) == "error_after") {
        EXPECT_EQ(world_.requests("POST", path).size(), 1U) << "it looked before it asked again";
    }
    expect_destroyed();
}

INSTANTIATE_TEST_SUITE_P(
    All,
    HetznerLosesAnswers,
    ::testing::Values(
        std::pair{"/servers", "lost"},
        std::pair{"/servers", "cut"},
        std::pair{"/servers", "error_after"},
        std::pair{"/servers", "lost_before"},
        std::pair{"/ssh_keys", "lost"},
        std::pair{"/ssh_keys", "cut"},
        std::pair{"/ssh_keys", "error_after"},
        std::pair{"/ssh_keys", "lost_before"},
        std::pair{"/firewalls", "cut"},
        std::pair{"/firewalls", "error_after"}
    )
);

TEST_F(Hetzner, ANameThatIsTakenForAMomentIsTriedAgain) {
    world_.fault(R"({"method":"POST","path":"/servers","kind":"error","status":409,
        "code":"uniqueness_error"})");
    expect_created();
    EXPECT_EQ(orders().size(), 2U);
    EXPECT_EQ(attempted(), "cx22 in fsn1 created");
}

TEST_F(Hetzner, ReadsAreRepeatedThroughAnOutage) {
    world_.fault(R"({"method":"GET","path":"/servers/{id}","kind":"error","status":503,
        "code":"unavailable","times":3,"text":"<html>bad gateway</html>"})");
    world_.fault(R"({"method":"GET","path":"/actions/{id}","kind":"cut","times":2})");
    expect_created();
}

TEST_F(Hetzner, AnOutageThatLastsIsAPassingErrorAndNothingIsDone) {
    world_.fault(R"({"method":"GET","path":"/servers","kind":"error","status":503,
        "code":"unavailable","times":8})");
    const auto made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().fault, Fault::kUnavailable);
    EXPECT_EQ(made.error().code, "provider_unreachable");
    EXPECT_TRUE(orders().empty());
}

TEST_F(Hetzner, AWrongTokenIsFinalAndIsNotRepeatedToAnybody) {
    world_.settings.api.token = Secret("wrong-and-secret");
    const auto made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, "provider_denied");
    EXPECT_FALSE(is_retryable(made.error().fault));
    EXPECT_EQ(made.error().describe().find("wrong-and-secret"), std::string::npos);
    EXPECT_FALSE(world_.start_driver()->list());
}

// --- servers that do not come up
// -------------------------------------------------------------------

class HetznerFailsToStart : public Hetzner, public ::testing::WithParamInterface<const char*> {
protected:
    void SetUp() override {
        Hetzner::SetUp();
        world_.settings.start_patience = milliseconds{400};
    }
};

TEST_P(HetznerFailsToStart, ItIsRemovedAndTheNextTargetTaken) {
    world_.fault(
        R"({"method":"POST","path":"/servers","ms":60000,"kind":")" + std::string(GetParam()) +
        R"("})"
    );
    expect_created();
    ASSERT_EQ(attempts_.size(), 2U) << attempted();
    EXPECT_EQ(attempts_[0].target, "cx22 in fsn1");
    EXPECT_EQ(attempts_[1].target, "cx32 in fsn1");
    EXPECT_EQ(attempts_[1].code, "created");
    EXPECT_EQ(world_.count("primary_ips"), 2) << "those of the first are gone";
    EXPECT_EQ(world_.boot.replaced_machines, std::vector<std::string>{spec_.machine})
        << "the first may have used the token";
}

TEST_P(HetznerFailsToStart, WhenNoneComesUpItSaysSoAndLeavesNothing) {
    types({"cx22"});
    world_.fault(
        R"({"method":"POST","path":"/servers","ms":60000,"times":2,"kind":")" +
        std::string(GetParam()) + R"("})"
    );
    const auto made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, "server_not_started");
    EXPECT_EQ(made.error().fault, Fault::kUnavailable);
    EXPECT_EQ(world_.machines(), 0);
    EXPECT_EQ(world_.leftovers(), 0);
}

INSTANTIATE_TEST_SUITE_P(
    All,
    HetznerFailsToStart,
    ::testing::Values("failed_action", "never_running", "no_address", "slow_action"),
    [](const auto& test) { return test.param; }
);

TEST_F(Hetzner, ASlowActionWithinThePatienceIsWaitedFor) {
    world_.fault(R"({"method":"POST","path":"/servers","kind":"slow_action","ms":150})");
    expect_created();
    EXPECT_EQ(attempted(), "cx22 in fsn1 created");
    EXPECT_GT(world_.requests("GET", "/actions/{id}").size(), 2U);
    EXPECT_LT(world_.requests("GET", "/actions/{id}").size(), 30U) << "the looks get rarer";
}

TEST_F(Hetzner, AServerMadeButNotStartedIsAdoptedAndStarted) {
    world_.fault(R"({"method":"POST","path":"/servers","kind":"never_running"})");
    world_.settings.start_patience = milliseconds{60'000};
    world_.settings.create_deadline = milliseconds{200};
    ASSERT_FALSE(create());
    ASSERT_EQ(world_.machines(), 1);
    world_.settings.create_deadline = milliseconds{5'000};
    expect_created();
    EXPECT_EQ(attempted(), "cx22 in fsn1 adopted");
    EXPECT_EQ(orders().size(), 1U);
}

TEST_F(Hetzner, ANodeThatStaysSilentIsAPassingErrorAndItsServerIsKeptForTheNextTry) {
    world_.boot.silent = true;
    world_.settings.create_deadline = milliseconds{400};
    const auto made = create();
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, "node_silent");
    for (const std::string& word :
         {hetzner::resource_name(spec_.machine), std::string("gateway_url")})
        EXPECT_NE(made.error().message.find(word), std::string::npos) << made.error().message;
    EXPECT_EQ(made.error().fault, Fault::kUnavailable);
    world_.boot.silent = false;
    world_.settings.create_deadline = milliseconds{5'000};
    expect_created();
    EXPECT_EQ(orders().size(), 1U);
}

TEST_F(Hetzner, AnInterruptEndsACreateAtOnce) {
    world_.boot.silent = true;
    world_.settings.create_deadline = milliseconds{60'000};
    const auto driver = world_.start_hetzner();
    Result<void> made;
    std::thread creator([&] { made = driver->create(spec_, attempts_); });
    EXPECT_TRUE(berth::testing::eventually([&] { return world_.machines() > 0; }));
    const auto began = std::chrono::steady_clock::now();
    driver->interrupt();
    creator.join();
    EXPECT_LT(std::chrono::steady_clock::now() - began, seconds{20});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, "interrupted");
    world_.boot.silent = false;
    expect_created();
}

}  // namespace
}  // namespace berth::prov::testing
