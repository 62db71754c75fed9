// SPDX-License-Identifier: Apache-2.0
// Subscribing, fetching and writing down; asking with patience.
#include "node_agent/warden_link.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "core/id.hpp"
#include "identity/token.hpp"
#include "log/log.hpp"
#include "node_agent/shim_protocol.hpp"

namespace berth::node {
namespace {

constexpr milliseconds kAskTimeout{20'000};
constexpr milliseconds kAskPause{200};
constexpr milliseconds kAskPauseLongest{2'000};
constexpr milliseconds kFetchPause{500};
constexpr milliseconds kFetchTimeout{4'000};

std::string words_of(const warden::v1::Halt& halt) {
    return "halted by " + halt.pressed_by() + (halt.reason().empty() ? "" : ": ") + halt.reason();
}

/// Whole or not at all for readers; no wait for the disk, because after a crash of the host it is
/// asked for anew.
Result<void> replace_file(
    const std::filesystem::path& path, std::string_view content, unsigned mode
) {
    const std::string fresh = path.string() + ".new";
    BERTH_TRY(write_quickly(fresh, content, mode));
    if (::rename(fresh.c_str(), path.c_str()) != 0)
        return system_error("cannot replace " + path.string(), errno);
    return {};
}

/// Whatever the umask says.
Result<void> make_folder(const std::filesystem::path& path, mode_t mode) {
    if ((::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) || ::chmod(path.c_str(), mode) != 0)
        return system_error("cannot create " + path.string(), errno);
    return {};
}

}  // namespace

WardenLink::WardenLink(Loop& loop, const Settings& settings, std::function<void()> on_news)
    : loop_(loop), settings_(settings), on_news_(std::move(on_news)) {}

void WardenLink::start() {
    if (const auto made = make_folder(folder(), settings_.container ? 0755 : 0700); !made)
        log::warning("the machine's policy cannot be kept", {{"error", made.error()}});
    const auto text = read_file(GuardState::file(folder()));
    auto state = text ? GuardState::decode(*text) : Result<GuardState>(text.error());
    if (!state) return;
    if (state->version != 0) {
        const auto bytes = read_file(state->policy_file(folder()));
        auto policy = bytes ? policy::Policy::load(*bytes)
                            : Result<std::shared_ptr<const policy::Policy>>(bytes.error());
        if (!policy) return;  // of another version of Berth: fetched anew
        policy_ = std::move(*policy);
    }
    state_ = *state;
}

void WardenLink::bus_up(bus::Connection& connection) {
    auto asker = bus::Asker::create(connection, {"node", settings_.machine});
    auto beats = connection.subscribe(
        "berth.warden." + settings_.org,
        [weak = weak_from_this(),
         &loop = loop_,
         generation = ++generation_](const bus::Message& message) {
            loop.post([weak, generation, payload = message.payload] {
                const auto self = weak.lock();
                if (self && self->generation_ == generation) self->on_beat(payload);
            });
        }
    );
    if (!asker || !beats) {
        log::warning("warden cannot be heard on this connection");
        return;
    }
    asker_ = std::move(*asker);
    beats_ = std::move(*beats);
    fetching_ = false;
    fetch();
}

void WardenLink::bus_down() {
    ++generation_;
    beats_.reset();
    asker_.reset();
    fetching_ = false;
}

void WardenLink::on_beat(const std::string& payload) {
    warden::v1::Beat beat;
    if (beat.ParseFromString(payload) && beat.org() == settings_.org) take_beat(beat);
}

void WardenLink::take_beat(const warden::v1::Beat& beat) {
    // An older revision than one that was heard proves that warden lives, and nothing else.
    if (beat.revision() >= revision_) {
        revision_ = beat.revision();
        halts_.assign(beat.halts().begin(), beat.halts().end());
        // With a policy that is not this one any more the state gets no younger.
        if (!state_ || beat.policy_version() != state_->version) {
            on_news_();
            return fetch();
        }
    }
    if (!state_) return;
    heard_ = true;
    state_->beat_ms = boot_milliseconds();
    write_state();
    on_news_();
}

void WardenLink::write_state() {
    if (const auto written = replace_file(GuardState::file(folder()), state_->encode(), mode());
        !written)
        log::warning("the machine's policy cannot be kept", {{"error", written.error()}});
}

void WardenLink::fetch() {
    if (fetching_ || asker_ == nullptr) return;
    fetching_ = true;
    warden::v1::GetSnapshot question;
    question.set_machine(settings_.machine);
    question.set_org(settings_.org);
    bus::Ask ask;
    ask.subject = "berth.qry.warden.snapshot." + settings_.machine;
    ask.type = question.GetTypeName();
    ask.payload = question.SerializeAsString();
    ask.timeout = kFetchTimeout;
    asker_->ask(
        std::move(ask),
        [weak = weak_from_this(),
         &loop = loop_,
         generation = generation_](Result<bus::Answer> answer) {
            loop.post([weak, &loop, generation, answer = std::move(answer)] {
                const auto self = weak.lock();
                if (!self || self->generation_ != generation) return;
                self->fetching_ = false;
                if (answer) return self->take_snapshot(answer->payload);
                log::warning(
                    "warden does not tell the policy; asking again", {{"error", answer.error()}}
                );
                loop.after(kFetchPause, [weak] {
                    if (const auto link = weak.lock()) link->fetch();
                });
            });
        }
    );
}

void WardenLink::take_snapshot(const std::string& payload) {
    warden::v1::Snapshot snapshot;
    if (!snapshot.ParseFromString(payload)) return log::warning("warden's policy makes no sense");
    if (const auto taken = take_policy(snapshot.policy()); !taken) {
        // The old one goes on until its life has passed; then nothing new is allowed.
        return log::warning("warden's policy cannot be used", {{"error", taken.error()}});
    }
    take_beat(snapshot.beat());
}

Result<void> WardenLink::take_policy(const warden::v1::PolicyVersion& policy) {
    GuardState state;
    state.version = policy.version();
    state.beat_ms = boot_milliseconds();
    std::shared_ptr<const policy::Policy> parsed;
    if (state.version != 0) {
        BERTH_ASSIGN(parsed, policy::Policy::parse(policy.text(), "policy"));
        BERTH_TRY(replace_file(state.policy_file(folder()), parsed->compiled(), mode()));
        if (settings_.guard == policy::Level::kShim && !settings_.container)
            BERTH_TRY(make_tools(*parsed, state.version));
    }
    const auto before = state_;
    state_ = state;
    policy_ = std::move(parsed);
    write_state();
    // Supervisors that look now find the new state; the file before it is nobody's any more.
    // Its tools stay: sandboxes that run have them mounted.
    if (before && before->version != 0 && before->version != state.version)
        ::unlink(before->policy_file(folder()).c_str());
    return {};
}

std::filesystem::path WardenLink::tools(std::uint64_t version) const {
    return folder() / ("tools-" + std::to_string(version));
}

/// One name per tool that the policy speaks of, each leading to the shim.
Result<void> WardenLink::make_tools(const policy::Policy& policy, std::uint64_t version) const {
    const auto place = tools(version);
    if (::mkdir(place.c_str(), 0700) != 0 && errno != EEXIST)
        return system_error("cannot create " + place.string(), errno);
    for (const std::string& tool : policy.tools()) {
        if (tool.empty() || tool.find('/') != std::string::npos) continue;
        if (::symlink(kShimProgram, (place / tool).c_str()) != 0 && errno != EEXIST)
            return system_error("cannot create " + (place / tool).string(), errno);
    }
    return {};
}

Result<void> WardenLink::prepare(Launch& launch, const std::filesystem::path& run_folder) const {
    if (launch.guard.level.empty()) return {};
    if (settings_.container) return share(launch);
    if (launch.guard.level == "shim") add_shims(launch, run_folder);
    return {};
}

/// The guard is another user's process on the other side of a mount: the folder is open, and those
/// above it are closed to everybody but the two.
Result<void> WardenLink::share(const Launch& launch) const {
    const std::filesystem::path folder = launch.guard.beside;
    BERTH_TRY(make_folder(folder.parent_path(), 0755));
    BERTH_TRY(make_folder(folder, 0777));
    BERTH_TRY(make_folder(folder / "held", 0777));
    Launch told;
    told.guard = launch.guard;
    told.grace_ms = launch.grace_ms;
    if (launch.guard.level == "shim") told.env = launch.env;  // what the shims' differs from
    return write_quickly(folder / "launch", told.encode(), kSharedMode);
}

void WardenLink::add_shims(Launch& launch, const std::filesystem::path& run_folder) const {
    // bwrap is given folders that are there.
    ::mkdir((run_folder / "shim").c_str(), 0700);
    const std::vector<std::string> mounts{
        "--ro-bind",
        (settings_.programs / "berth-shim").string(),
        kShimProgram,
        "--ro-bind",
        tools(state_->version).string(),
        kShimTools,
        "--bind",
        (run_folder / "shim").string(),
        kShimFolder};
    const auto last = std::find(launch.sandbox.begin(), launch.sandbox.end(), "--remount-ro");
    launch.sandbox.insert(last, mounts.begin(), mounts.end());
    for (std::string& entry : launch.env) {
        if (entry.starts_with("PATH=")) entry.insert(5, std::string(kShimTools) + ":");
    }
}

bool WardenLink::covers(const warden::v1::Halt& halt, const v1::Start& spec) const {
    switch (halt.scope()) {
        case warden::v1::HALT_SCOPE_ORG: return true;
        case warden::v1::HALT_SCOPE_OWNER: return halt.target() == spec.user();
        case warden::v1::HALT_SCOPE_AGENT:
            return !spec.agent().empty() && halt.target() == spec.agent();
        case warden::v1::HALT_SCOPE_MACHINE: return halt.target() == settings_.machine;
        default: return false;
    }
}

std::string WardenLink::reason_of(const std::string& id) const {
    for (const auto& halt : halts_) {
        if (halt.id() == id) return words_of(halt);
    }
    return {};
}

Result<Launch::Guard> WardenLink::guard_for(const v1::Start& spec) const {
    Launch::Guard guard;
    for (const auto& halt : halts_) {
        if (covers(halt, spec))
            return conflict(
                kHalted, words_of(halt) + "; somebody else ends the halt: berth resume " + halt.id()
            );
    }
    // What an earlier node agent heard may be long ago.
    const bool stale =
        state_ && state_->version != 0 && boot_milliseconds() - state_->beat_ms > kBeatLife.count();
    if (!state_ || !heard_ || stale)
        return unavailable(kNoPolicyKnown, "warden has not said yet which policy is in force");
    if (state_->version == 0) return guard;
    policy::Origin origin;
    origin.org = settings_.org;
    origin.user = spec.user();
    origin.profile = settings_.profile;
    origin.agent = spec.agent();
    origin.machine = settings_.machine;
    origin.run = spec.run();
    origin.level = settings_.guard;
    // Below it nothing is judged, or not as the policy wants it: nothing runs.
    const policy::Required wanted = policy_ ? policy_->required(origin) : policy::Required{};
    if (wanted.level > origin.level) {
        const std::string level(policy::to_string(wanted.level));
        const std::string rule =
            wanted.rule.empty() ? "" : "rule " + std::string(wanted.rule) + " of ";
        return conflict(
            "level_required",
            rule + "the org's policy requires that commands are guarded at level " + level +
                ", and this machine guards at " + std::string(policy::to_string(origin.level)) +
                "; take a profile with guard: " + level
        );
    }
    if (settings_.guard == policy::Level::kNone) return guard;
    guard.level = std::string(policy::to_string(settings_.guard));
    guard.folder = folder().string();
    guard.org = settings_.org;
    guard.user = spec.user();
    guard.profile = settings_.profile;
    guard.agent = spec.agent();
    guard.lease = spec.lease().empty() ? settings_.lease : spec.lease();
    guard.machine = settings_.machine;
    guard.run = spec.run();
    if (settings_.container) {
        guard.folder = "guard";  // as the guard sees it, which stands in the door's folder
        guard.beside = guard_folder(settings_, spec.run()).string();
        guard.beside_inside = "runs/" + spec.run();
    }
    return guard;
}

bool WardenLink::drops(std::string_view variable) const {
    return policy_ && policy_->drops(variable);
}

policy::EnvironmentRules WardenLink::environment() const {
    return policy_ ? policy_->environment() : policy::EnvironmentRules{};
}

std::string WardenLink::command_id(const std::string& what) {
    return ulid_from_bytes(identity::sha256("berth-node/" + what).substr(0, 16));
}

void WardenLink::ask_surely(
    const std::string& verb,
    const google::protobuf::Message& message,
    const std::string& command_id,
    std::weak_ptr<void> alive,
    Done done
) {
    bus::Ask ask;
    ask.subject = "berth.cmd.warden." + verb + "." + settings_.machine;
    ask.type = message.GetTypeName();
    ask.payload = message.SerializeAsString();
    ask.command_id = command_id;
    ask.timeout = kAskTimeout;
    ask_again(std::move(ask), std::move(alive), std::move(done), kAskPause);
}

void WardenLink::ask_again(bus::Ask ask, std::weak_ptr<void> alive, Done done, milliseconds pause) {
    const auto later = [weak = weak_from_this(), &loop = loop_, ask, alive, done, pause] {
        loop.after(pause, [=] {
            const auto self = weak.lock();
            if (!self || alive.expired()) return;
            self->ask_again(ask, alive, done, std::min(pause * 2, kAskPauseLongest));
        });
    };
    if (asker_ == nullptr) return later();
    asker_->ask(std::move(ask), [&loop = loop_, alive, done, later](Result<bus::Answer> answer) {
        loop.post([alive, done, later, answer = std::move(answer)] {
            if (alive.expired()) return;
            if (answer) return done(answer->payload);
            // "Not now" is asked again; a no is an answer.
            const Fault fault = answer.error().fault;
            if (fault == Fault::kUnavailable || fault == Fault::kDeadline ||
                fault == Fault::kLimit || fault == Fault::kInternal)
                return later();
            done(answer.error());
        });
    });
}

}  // namespace berth::node
