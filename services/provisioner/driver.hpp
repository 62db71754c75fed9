// SPDX-License-Identifier: Apache-2.0
// What a provider of machines must be able to do. A new provider is one folder below drivers/ and
// one line in app.cpp.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "berth/lease/v1/lease.pb.h"
#include "core/result.hpp"
#include "core/secret.hpp"
#include "core/time.hpp"

namespace berth::prov {

/// The machine that is wanted.
struct MachineSpec {
    std::string machine;  ///< m_<ulid>
    std::string org;
    std::string lease;
    std::string slug;
    lease::v1::Profile profile;
    std::string command{};  ///< id of the create command; a mark for people on what is made
};

/// node.yaml's line about how commands are guarded.
inline std::string guard_line(const lease::v1::Profile& profile) {
    return "\nguard: " + (profile.guard().empty() ? std::string("enforce") : profile.guard());
}

enum class Condition { kWorking, kMissing };

/// One thing a provider was asked for while a machine was made, and what it said.
struct Attempt {
    std::string target;   ///< what was asked for: "cx22 in fsn1"
    std::string code;     ///< the provider's own code ("resource_unavailable"), or "created"
    std::string message;  ///< the provider's words; never a secret
};
using Attempts = std::vector<Attempt>;

/// The code of the final error of a create() that every type and location refused for want of
/// room, quota or rate.
inline constexpr std::string_view kCapacityExhausted = "capacity_exhausted";
/// The code of the error of a create(), destroy() or tend() that found the machine's name or label
/// on something whose other marks are not ours: it is never touched (rule 10).
inline constexpr std::string_view kNotOurs = "not_ours";

/// The code of the error of whatever interrupt() ended, and of a create() that is wanted no more.
/// It counts as no attempt.
inline constexpr std::string_view kInterrupted = "interrupted";

/// The code of the error of a create() whose image is still being fetched, however long that takes.
/// It counts as no attempt: the fetching itself ends, with the image or with an error of its own.
inline constexpr std::string_view kImagePulling = "image_pulling";

/// Of Boot::touched(): the machine is older than its record, and may be at any place.
inline constexpr std::string_view kAnyPlace = "*";

/// What a machine that boots away from this host needs to become ours. Thread-safe.
class Boot {
public:
    virtual ~Boot() = default;
    /// cloud-init user data that installs the node agent and lets it enrol once. The same text for
    /// the same machine however often it is asked for, so that a repeated create is the same
    /// request; below 16 KiB (EC2's limit), never to be logged.
    virtual Result<Secret> user_data(const MachineSpec& spec) = 0;
    /// The server that was told the machine's token is gone for good, enrolled or not: the next one
    /// may use it.
    virtual Result<void> replaced(const std::string& machine) = 0;
    /// Waits until the machine's node is heard on the bus after `since`; false when the patience
    /// ends. Error kInterrupted once the machine is to be destroyed: nobody enrols as it any more.
    virtual Result<bool> wait_heard(
        const std::string& machine, SteadyTime since, milliseconds patience
    ) = 0;
    /// Records that something of the machine may be at a place from now on, before it is; until the
    /// machine is gone.
    virtual Result<void> touch(const std::string& machine, const std::string& place) = 0;
    /// The places where that was recorded.
    virtual Result<std::vector<std::string>> touched(const std::string& machine) = 0;
};

/// Calls for one machine never overlap; calls for different machines do. Everything may block,
/// bounded by a deadline of the driver's own: seconds on this host, minutes at a cloud. Errors:
/// unavailable and deadline mean "again later", everything else is final, kCapacityExhausted too.
class Driver {
public:
    virtual ~Driver() = default;
    virtual std::string_view name() const = 0;
    /// True when create() has no effect outside the database: it is then not queued.
    virtual bool instant() const { return false; }
    /// True when the node's `clean` leaves nothing of one owner to the next on a machine of
    /// `profile`; else it is removed and made anew between owners.
    virtual bool cleanable(const lease::v1::Profile&) const { return false; }
    /// How many machines are made and removed at once.
    virtual int parallel() const { return 4; }
    /// Ends every call under way and to come with the passing error kInterrupted, so that the
    /// process can stop while a server starts. The next create or destroy goes on from there.
    virtual void interrupt() {}
    /// Returns when the machine's node has been heard on the bus. Repeating it after a crash at any
    /// point completes the same machine. What the provider was asked for is added to `attempts`.
    virtual Result<void> create(const MachineSpec& spec, Attempts& attempts) = 0;
    /// Returns when nothing of the machine is left, keys, volumes and rules included. What is not
    /// there is success.
    virtual Result<void> destroy(const std::string& machine) = 0;
    /// Looks after a machine that should work and restarts what died on it. kNotOurs where its name
    /// is there without our marks: it is neither working nor gone.
    virtual Result<Condition> tend(const MachineSpec& spec) = 0;
    /// Every machine of which anything is there that is provably ours (rule 10), a left-over key
    /// too. An error means that nothing is known.
    virtual Result<std::vector<std::string>> list() = 0;
    /// What the last list() could not see though it saw the rest, in words; empty: it saw all.
    virtual std::string unseen() { return {}; }
    /// What the last list() passed over because it bears a machine's name without our marks, where
    /// nobody but this deployment may have such a thing.
    virtual std::vector<std::string> foreign() { return {}; }
};

}  // namespace berth::prov
