// SPDX-License-Identifier: Apache-2.0
// What kinds of machines there are: those of the settings file, and those that admins set while the
// deployment runs.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "berth/lease/v1/lease.pb.h"
#include "core/time.hpp"
#include "store/postgres.hpp"

namespace berth::lease {

/// A profile as it is now, and what tells it from what it was.
struct Recipe {
    v1::Profile profile;
    std::string digest;   ///< of all of it: what a lease keeps
    std::string machine;  ///< digest of what a machine is made by: one of another is not handed on
};
using RecipePtr = std::shared_ptr<const Recipe>;

/// Reads a profile as berth.yaml has it under `profiles: <name>:`, from YAML or JSON. Error
/// "bad_profile" says which key is wrong and why.
Result<v1::Profile> parse_profile(const std::string& name, const std::string& text);
/// Whether each name of its lists can be one: nothing but a mistake in writing the list holds
/// blanks, brackets, commas or quotes. Asked when a profile is set. Error "bad_profile".
Result<void> check_lists(const v1::Profile& profile);
Recipe recipe_of(v1::Profile profile);

/// An admin's profile as it is stored.
struct StoredProfile {
    std::string name;
    std::string text;  ///< of parse_profile
    std::int64_t revision = 0;
};

/// How long a replica may go on with a profile that another has changed.
inline constexpr milliseconds kProfilesEvery{500};
/// Profiles that are stored: each is looked at whenever pools are.
inline constexpr std::int64_t kMostProfiles = 1'000;
inline constexpr std::size_t kMostProfileText = 16U << 10U;

/// Thread-safe. A profile of the file wins over a stored one of its name, and that over the
/// built-in `default`. What is stored is read again every kProfilesEvery, at once after
/// read_soon(), and by whoever asks for a name that is not known.
class Profiles {
public:
    using All = std::map<std::string, RecipePtr>;

    Profiles(const std::map<std::string, v1::Profile>& configured, store::Pool& pool);
    ~Profiles();
    Profiles(const Profiles&) = delete;
    Profiles& operator=(const Profiles&) = delete;

    /// Reads for the first time, and goes on reading until stop().
    Result<void> start();
    void stop();
    void read_soon();

    /// Null where there is none of this name.
    RecipePtr find(const std::string& name) const;
    /// The same, and looks into the database where it is not known: it may be a moment old.
    Result<RecipePtr> find(store::Transaction& tx, const std::string& name);
    std::shared_ptr<const All> all() const;
    /// True for a profile of the settings file: nobody changes it but there.
    bool in_file(const std::string& name) const;
    /// What a lease was acquired by; null where it is from before recipes were kept.
    Result<RecipePtr> kept(store::Transaction& tx, const std::string& digest) const;

    /// Reads now.
    Result<void> read();

private:
    void run();
    std::shared_ptr<All> merged(const std::vector<StoredProfile>& stored) const;

    const std::map<std::string, RecipePtr> configured_;
    store::Pool& pool_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::shared_ptr<const All> all_;  // by mutex_
    bool wanted_ = false;             // by mutex_
    bool stopping_ = false;           // by mutex_
    std::thread thread_;
};

namespace repo {

Result<std::vector<StoredProfile>> stored_profiles(store::Pool& pool);
Result<std::optional<StoredProfile>> stored_profile(
    store::Transaction& tx, const std::string& name
);
Result<std::int64_t> count_profiles(store::Transaction& tx);
/// The new revision, or nothing where it says the same already.
Result<std::optional<std::int64_t>> put_profile(
    store::Transaction& tx, const StoredProfile& profile, const std::string& by
);
/// The new revision, or nothing where there was none.
Result<std::optional<std::int64_t>> remove_profile(
    store::Transaction& tx, const std::string& name, const std::string& by
);
Result<void> keep_recipe(store::Transaction& tx, const Recipe& recipe);

}  // namespace repo
}  // namespace berth::lease
