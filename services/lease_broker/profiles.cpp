// SPDX-License-Identifier: Apache-2.0
// Merging, digests, and the SQL of profiles and recipes.
#include "lease_broker/profiles.hpp"

#include <algorithm>

#include "config/config.hpp"
#include "core/id.hpp"
#include "core/text.hpp"
#include "identity/token.hpp"
#include "lease_broker/settings.hpp"
#include "log/log.hpp"

namespace berth::lease {
namespace {

using store::Row;
using store::Rows;
using store::Statement;

constexpr std::size_t kDigestBytes = 12;  // of SHA-256: enough among thousands

constexpr Statement kStoredProfiles{
    "SELECT name, recipe, revision FROM profiles WHERE NOT removed ORDER BY name",
    "stored_profiles"};
constexpr Statement kStoredProfile{
    "SELECT name, recipe, revision FROM profiles WHERE name = $1 AND NOT removed",
    "stored_profile"};
constexpr Statement kCountProfiles{
    "SELECT count(*) FROM profiles WHERE NOT removed", "count_profiles"};
// Removed ones stay as rows, so that revisions of a name only grow.
constexpr Statement kPutProfile{
    "INSERT INTO profiles (name, recipe, by_user, revision, removed) VALUES ($1, $2, $3, 1, false) "
    "ON CONFLICT (name) DO UPDATE SET recipe = excluded.recipe, by_user = excluded.by_user, "
    "revision = profiles.revision + 1, removed = false WHERE profiles.removed OR profiles.recipe "
    "<> excluded.recipe RETURNING revision",
    "put_profile"};
constexpr Statement kRemoveProfile{
    "UPDATE profiles SET removed = true, by_user = $2, revision = revision + 1 WHERE name = $1 AND "
    "NOT removed RETURNING revision",
    "remove_profile"};
constexpr Statement kKeepRecipe{
    "INSERT INTO recipes (digest, profile) VALUES ($1, $2) ON CONFLICT DO NOTHING", "keep_recipe"};
constexpr Statement kKeptRecipe{"SELECT profile FROM recipes WHERE digest = $1", "kept_recipe"};

std::string digest_of(const v1::Profile& profile) {
    return hex(identity::sha256(profile.SerializeAsString())).substr(0, 2 * kDigestBytes);
}

StoredProfile to_stored(const Row& row) {
    return {std::string(row.text(0)), std::string(row.text(1)), row.int64(2)};
}

std::map<std::string, RecipePtr> recipes_of(const std::map<std::string, v1::Profile>& profiles) {
    std::map<std::string, RecipePtr> out;
    for (const auto& [name, profile] : profiles)
        out[name] = std::make_shared<const Recipe>(recipe_of(profile));
    return out;
}

Result<Recipe> recipe_of(const StoredProfile& stored) {
    BERTH_ASSIGN(v1::Profile profile, parse_profile(stored.name, stored.text));
    profile.set_source("api");
    profile.set_revision(static_cast<std::uint64_t>(stored.revision));
    return lease::recipe_of(std::move(profile));
}

}  // namespace

Result<v1::Profile> parse_profile(const std::string& name, const std::string& text) {
    if (!is_profile_name(name)) return invalid("bad_profile", kProfileNameRule, "profile");
    if (text.size() > kMostProfileText)
        return invalid("bad_profile", "a profile is at most 16 KiB", "profile");
    const auto document = config::Document::parse(text, "profile " + name);
    if (!document) return invalid("bad_profile", document.error().message, "profile");
    if (!document->root().is_map())
        return invalid("bad_profile", "a profile is a map of keys and values", "profile");
    config::Reader reader(document->root());
    v1::Profile profile = read_profile(name, reader);
    if (const auto read = reader.finish(); !read)
        return invalid("bad_profile", read.error().message, "profile");
    return profile;
}

Result<void> check_lists(const v1::Profile& profile) {
    const auto check = [](const char* key, const auto& names) -> Result<void> {
        for (const std::string& name : names) {
            const bool odd = std::any_of(name.begin(), name.end(), [](unsigned char c) {
                return c <= ' ' || std::string_view("[]{},\"'").find(char(c)) != std::string::npos;
            });
            if (name.empty() || odd)
                return invalid(
                    "bad_profile",
                    std::string(key) + " holds '" + clipped(name, 64) + "', which is no name",
                    "profile"
                );
        }
        return {};
    };
    BERTH_TRY(check("env", profile.env_allow()));
    BERTH_TRY(check("types", profile.types()));
    return check("locations", profile.locations());
}

Recipe recipe_of(v1::Profile profile) {
    v1::Profile whole = profile;
    whole.clear_source();
    whole.clear_revision();
    // What only leases and pools look at; whatever is left makes the machine.
    v1::Profile machine = whole;
    machine.clear_name();
    machine.clear_ttl();
    machine.clear_idle_timeout();
    machine.clear_env_allow();
    machine.clear_output_cap_bytes();
    machine.clear_run_timeout();
    machine.clear_parallel_runs();
    machine.clear_warm_min();
    machine.clear_max_machines();
    machine.clear_price_micros_per_hour();
    return {std::move(profile), digest_of(whole), digest_of(machine)};
}

Profiles::Profiles(const std::map<std::string, v1::Profile>& configured, store::Pool& pool)
    : configured_(recipes_of(configured)),
      pool_(pool),
      all_(std::make_shared<const All>(configured_)) {}

Profiles::~Profiles() { stop(); }

Result<void> Profiles::start() {
    BERTH_TRY(read());
    thread_ = std::thread([this] { run(); });
    return {};
}

void Profiles::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void Profiles::read_soon() {
    {
        const std::lock_guard lock(mutex_);
        wanted_ = true;
    }
    changed_.notify_all();
}

void Profiles::run() {
    while (true) {
        {
            std::unique_lock lock(mutex_);
            changed_.wait_for(lock, kProfilesEvery, [this] { return stopping_ || wanted_; });
            if (stopping_) return;
            wanted_ = false;
        }
        // What is known stays in force while the database is away.
        if (const auto done = read(); !done)
            log::warning("profiles could not be read", {{"error", done.error()}});
    }
}

std::shared_ptr<Profiles::All> Profiles::merged(const std::vector<StoredProfile>& stored) const {
    auto out = std::make_shared<All>(configured_);
    for (const StoredProfile& each : stored) {
        if (in_file(each.name)) continue;
        auto recipe = recipe_of(each);
        if (recipe) {
            (*out)[each.name] = std::make_shared<const Recipe>(std::move(*recipe));
        } else {
            // Of another version of this program, with keys of its own.
            log::warning(
                "a stored profile is not understood",
                {{"profile", each.name}, {"error", recipe.error()}}
            );
        }
    }
    return out;
}

Result<void> Profiles::read() {
    BERTH_ASSIGN(const auto stored, repo::stored_profiles(pool_));
    const auto now = merged(stored);
    const auto before = all();
    std::vector<RecipePtr> fresh;
    for (const auto& [name, recipe] : *now) {
        const auto found = before->find(name);
        if (found == before->end() || found->second->digest != recipe->digest ||
            !thread_.joinable())
            fresh.push_back(recipe);
    }
    // A lease that is acquired by it finds it kept.
    if (!fresh.empty()) {
        BERTH_TRY(pool_.transact([&](store::Transaction& tx) -> Result<bool> {
            for (const RecipePtr& each : fresh) {
                if (auto kept = repo::keep_recipe(tx, *each); !kept) return kept.error();
            }
            return true;
        }));
    }
    const std::lock_guard lock(mutex_);
    all_ = now;
    return {};
}

std::shared_ptr<const Profiles::All> Profiles::all() const {
    const std::lock_guard lock(mutex_);
    return all_;
}

RecipePtr Profiles::find(const std::string& name) const {
    const auto known = all();
    const auto found = known->find(name);
    return found == known->end() ? nullptr : found->second;
}

Result<RecipePtr> Profiles::find(store::Transaction& tx, const std::string& name) {
    if (auto known = find(name)) return known;
    BERTH_ASSIGN(const auto stored, repo::stored_profile(tx, name));
    if (!stored) return RecipePtr();
    BERTH_ASSIGN(Recipe recipe, recipe_of(*stored));
    BERTH_TRY(repo::keep_recipe(tx, recipe));
    auto made = std::make_shared<const Recipe>(std::move(recipe));
    const std::lock_guard lock(mutex_);
    auto more = std::make_shared<All>(*all_);
    (*more)[name] = made;
    all_ = std::move(more);
    return made;
}

bool Profiles::in_file(const std::string& name) const {
    const auto found = configured_.find(name);
    return found != configured_.end() && found->second->profile.source() == "file";
}

Result<RecipePtr> Profiles::kept(store::Transaction& tx, const std::string& digest) const {
    if (digest.empty()) return RecipePtr();
    BERTH_ASSIGN(const Rows rows, tx.exec(kKeptRecipe, {digest}));
    if (rows.empty()) return RecipePtr();
    v1::Profile profile;
    if (!profile.ParseFromString(std::string(rows[0].bytes(0))))
        return internal("bad_recipe", "the recipe " + digest + " cannot be read");
    return std::make_shared<const Recipe>(lease::recipe_of(std::move(profile)));
}

namespace repo {

Result<std::vector<StoredProfile>> stored_profiles(store::Pool& pool) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kStoredProfiles, {}, store::OnLoss::kRetry));
    std::vector<StoredProfile> out;
    for (const Row row : rows) out.push_back(to_stored(row));
    return out;
}

Result<std::optional<StoredProfile>> stored_profile(
    store::Transaction& tx, const std::string& name
) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kStoredProfile, {name}));
    if (rows.empty()) return std::optional<StoredProfile>{};
    return std::optional<StoredProfile>(to_stored(rows[0]));
}

Result<std::int64_t> count_profiles(store::Transaction& tx) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kCountProfiles, {}));
    return rows[0].int64(0);
}

Result<std::optional<std::int64_t>> put_profile(
    store::Transaction& tx, const StoredProfile& profile, const std::string& by
) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kPutProfile, {profile.name, profile.text, by}));
    if (rows.empty()) return std::optional<std::int64_t>{};
    return std::optional<std::int64_t>(rows[0].int64(0));
}

Result<std::optional<std::int64_t>> remove_profile(
    store::Transaction& tx, const std::string& name, const std::string& by
) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kRemoveProfile, {name, by}));
    if (rows.empty()) return std::optional<std::int64_t>{};
    return std::optional<std::int64_t>(rows[0].int64(0));
}

Result<void> keep_recipe(store::Transaction& tx, const Recipe& recipe) {
    v1::Profile plain = recipe.profile;
    plain.clear_source();
    plain.clear_revision();
    BERTH_TRY(tx.exec(kKeepRecipe, {recipe.digest, store::Param::bytes(plain.SerializeAsString())})
    );
    return {};
}

}  // namespace repo
}  // namespace berth::lease
