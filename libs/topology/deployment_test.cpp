// SPDX-License-Identifier: Apache-2.0
// Proves that a deployment's files are private, keep their keys over a second run, and are never
// guessed over.
#include "topology/deployment.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "core/fd.hpp"
#include "identity/creds.hpp"
#include "identity/jwt.hpp"
#include "support/temporary_folder.hpp"
#include "topology/rights.hpp"

namespace berth::topology {
namespace {

WallTime now() { return Clock::system().now(); }

unsigned mode_of(const std::filesystem::path& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 0777U : 0U;
}

TEST(Deployment, FilesArePrivateAndUsersAreSignedByTheAccount) {
    const testing::TemporaryFolder folder;
    const auto made = generate(builtin(), folder.path() / "nats", {}, now());
    ASSERT_TRUE(made) << made.error().describe();
    EXPECT_EQ(made->creds.size(), builtin().users.size());
    EXPECT_EQ(mode_of(folder.path() / "nats"), 0700U);
    EXPECT_EQ(mode_of(made->account_seed), 0600U);
    EXPECT_EQ(mode_of(made->conf), 0600U);
    EXPECT_EQ(mode_of(folder.path() / "nats" / "keys" / "operator.seed"), 0600U);
    for (const auto& [user, path] : made->creds) {
        EXPECT_EQ(mode_of(path), 0600U) << user;
        const auto claims = identity::verify_user(
            identity::read_creds(path).value().jwt, made->account_public_key, now()
        );
        ASSERT_TRUE(claims) << claims.error().describe();
        EXPECT_EQ(claims->name, user);
        EXPECT_EQ(claims->permissions, permissions_of(builtin(), user).value());
    }
}

TEST(Deployment, NoSeedIsInTheConfiguration) {
    const testing::TemporaryFolder folder;
    const auto made = generate(builtin(), folder.path(), {}, now());
    ASSERT_TRUE(made);
    const std::string conf = read_file(made->conf).value();
    for (const auto& seed :
         {made->account_seed,
          folder.path() / "keys" / "operator.seed",
          folder.path() / "keys" / "system.seed"}) {
        EXPECT_EQ(conf.find(identity::read_seed(seed).value().reveal()), std::string::npos);
    }
}

TEST(Deployment, ASecondRunKeepsEveryKey) {
    const testing::TemporaryFolder folder;
    const auto first = generate(builtin(), folder.path(), {}, now());
    ASSERT_TRUE(first);
    const auto before = identity::read_creds(first->creds.at("lease")).value();
    DeploymentOptions options;
    options.port = 4333;
    const auto second = generate(builtin(), folder.path(), options, now());
    ASSERT_TRUE(second) << second.error().describe();
    EXPECT_EQ(second->account_public_key, first->account_public_key);
    EXPECT_EQ(
        identity::read_creds(second->creds.at("lease")).value().seed.reveal(), before.seed.reveal()
    );
    EXPECT_NE(read_file(second->conf).value().find("port: 4333"), std::string::npos);
}

TEST(Deployment, ADamagedFileIsReportedNotReplaced) {
    const testing::TemporaryFolder folder;
    const auto made = generate(builtin(), folder.path(), {}, now());
    ASSERT_TRUE(made);
    ASSERT_TRUE(write_file_atomic(made->account_seed, "damaged\n", 0600));
    EXPECT_EQ(generate(builtin(), folder.path(), {}, now()).error().code, "bad_seed");
    EXPECT_EQ(read_file(made->account_seed).value(), "damaged\n");
}

TEST(Deployment, OptionsAreChecked) {
    const testing::TemporaryFolder folder;
    DeploymentOptions options;
    options.host = "a\"\nno_auth_user: x";
    EXPECT_EQ(generate(builtin(), folder.path(), options, now()).error().code, "bad_option");
    options = {};
    options.port = 0;
    EXPECT_EQ(generate(builtin(), folder.path(), options, now()).error().field, "port");
    options = {};
    options.max_file = 1 << 20;
    EXPECT_EQ(generate(builtin(), folder.path(), options, now()).error().field, "max_file");
}

TEST(MachineUser, LivesNoLongerThanItsTemplateSays) {
    const auto account = identity::KeyPair::create(identity::KeyKind::kAccount);
    const auto user = identity::KeyPair::create(identity::KeyKind::kUser);
    const WallTime at = parse_rfc3339("2026-01-31T09:05:00Z").value();
    const auto expiry = [&](milliseconds lifetime) {
        const auto jwt = mint_machine_user(
            builtin(), account, {"m_1", "default"}, user.public_key(), at, lifetime
        );
        return identity::verify_user(jwt.value(), account.public_key(), at)
                   .value()
                   .expires_at.value() -
               at;
    };
    EXPECT_EQ(expiry(milliseconds{0}), std::chrono::minutes(15));
    EXPECT_EQ(expiry(std::chrono::hours(24)), std::chrono::minutes(15));
    EXPECT_EQ(expiry(std::chrono::seconds(30)), std::chrono::seconds(30));
    EXPECT_FALSE(mint_machine_user(builtin(), account, {"*", "default"}, user.public_key(), at));
    EXPECT_FALSE(mint_machine_user(builtin(), account, {"m_1", "default"}, account.public_key(), at)
    );
}

}  // namespace
}  // namespace berth::topology
