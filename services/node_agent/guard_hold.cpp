// SPDX-License-Identifier: Apache-2.0
// Held commands: asked about, decided, looked at again, claimed, and only then gone on; and the
// words for the node agent.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "core/id.hpp"
#include "core/text.hpp"
#include "node_agent/guard.hpp"
#include "node_agent/shim_protocol.hpp"

namespace berth::node {
namespace {

constexpr milliseconds kAuditPause{50};       // entries travel together
constexpr milliseconds kSignalLook{100};      // how soon a signal to a held process is felt
constexpr milliseconds kFreezeLook{5};        // between looks whether all stand still
constexpr milliseconds kFreezePatience{500};  // then it is told as it is
constexpr std::size_t kMostParent = 4'096;    // a path

/// Which name of a plan is no text, as a message to whoever decides is; nullptr: none.
const char* no_text(const policy::Plan& plan) {
    if (!is_utf8(plan.executable.path)) return "its program's path";
    if (!is_utf8(plan.script.path)) return "its script's path";
    if (!is_utf8(plan.cwd)) return "its folder's path";
    const bool named = std::all_of(plan.env.begin(), plan.env.end(), [](const auto& change) {
        return is_utf8(change.name);
    });
    return named ? nullptr : "the name of a variable that it sets";
}

}  // namespace

std::filesystem::path Guard::held_file(const std::string& id) const {
    return keeping_.folder / "held" / id;
}

void Guard::say(Word word, std::vector<std::string> texts) {
    unsaid_.emplace_back(word, pack(texts));
    turn_due_ = true;
}

/// Its memory is closed before anything that takes time.
void Guard::hold(Waiting waiting, const policy::Verdict& verdict) {
    Held& held = waiting.held;
    held.id = make_ulid(Clock::system().now(), Random::system());
    held.claim = make_ulid(Clock::system().now(), Random::system());
    held.verdict = verdict;
    held.policy_version = policy_.version();
    held.digest = policy::digest(held.plan);
    const std::string id = held.id;
    const bool closed = waiting.closed;
    waiting_.emplace(id, std::move(waiting));
    if (!look_at_) look_at_ = std::chrono::steady_clock::now() + kSignalLook;
    if (closed) return unasked_.push_back(id);
    close(id);
}

/// on_held() goes on. What cannot be closed, or not be told from what it was, is not asked about.
void Guard::close(const std::string& id) {
    Waiting& waiting = waiting_.at(id);
    waiting.memory = ImageMemory::of(waiting.pid);
    if (waiting.memory && tracer_.hold(waiting.pid)) return;
    const bool filtered = tracer_.is_filtered(waiting.pid);
    reject(
        id,
        waiting.held.verdict.rule,
        filtered ? "nobody can be asked about it: it stands under a system call filter that its "
                   "run did not begin with"
                 : "nobody can be asked about it: its memory cannot be guarded"
    );
}

/// One in a turn of the loop: files are read for a while, and nothing else is done meanwhile.
void Guard::ask_next() {
    const std::string id = std::move(unasked_.front());
    unasked_.pop_front();
    if (waiting_.contains(id)) ask(id);
}

/// What a person is asked about is known by its content.
void Guard::ask(const std::string& id) {
    Waiting& waiting = waiting_.at(id);
    Held& held = waiting.held;
    if (const char* what = no_text(held.plan); what != nullptr)
        return reject(
            id,
            held.verdict.rule,
            std::string(what) + " is not UTF-8, so nobody can be asked about it; rename it"
        );
    held.plan.parent = policy::show_plain(held.plan.parent, kMostParent);  // for people alone
    if (const auto hashed = images_->hash(waiting.pid, held.plan, waiting.shim); !hashed)
        return reject(id, held.verdict.rule, hashed.error().message);
    held.digest = policy::digest(held.plan);
    const std::string bytes = held.encode();
    if (bytes.size() > kMaxHeldBytes)
        return reject(id, held.verdict.rule, "the command is too large to be asked about");
    std::error_code ignored;
    std::filesystem::create_directory(keeping_.folder / "held", ignored);
    if (const auto written = write_file_atomic(held_file(id), bytes, keeping_.mode); !written)
        return reject(id, held.verdict.rule, "it cannot be recorded: " + written.error().message);
    if (waiting.shim) door_.answer(waiting.pid, kShimWait);
    audit_.add(entry_of("exec_held", waiting.pid, held.plan, held.verdict, held.digest));
    say(Word::kHeld, {id});
}

bool Guard::on_word(const RunWord& word) {
    switch (word.word) {
        case Word::kDecide:
            if (const auto texts = unpack(word.data); texts && texts->size() == 1)
                on_decision(texts->front());
            return true;
        case Word::kClaimed:
            if (const auto texts = unpack(word.data); texts && texts->size() == 3)
                on_claimed(*texts);
            return true;
        case Word::kAuditDone: {
            audit_.confirm(word.a);
            while (!postponed_.empty() && !audit_.full()) {
                const auto [pid, before] = postponed_.front();
                postponed_.pop_front();
                judge_stopped(pid, before);
            }
            return true;
        }
        case Word::kFreeze:
            if (level_ == policy::Level::kShim) return false;  // nothing is traced
            if (const auto texts = unpack(word.data); texts && texts->size() == 1)
                freeze(texts->front());
            return true;
        default: return false;
    }
}

void Guard::on_held(pid_t pid) {
    for (auto& [id, waiting] : waiting_) {
        if (waiting.pid != pid) continue;
        waiting.closed = true;
        if (waiting.decision) return claim_edited(std::string(id));
        unasked_.push_back(id);
        turn_due_ = true;
        return;
    }
}

void Guard::on_decision(const std::string& id) {
    const auto found = waiting_.find(id);
    if (found == waiting_.end()) return say(Word::kUnheld, {id, "abandoned", ""});
    if (std::exchange(found->second.decided, true)) return;  // told twice
    if (found->second.closed) carry_out(id);
}

void Guard::carry_out(const std::string& id) {
    Waiting& waiting = waiting_.at(id);
    const auto bytes = read_file(held_file(id).string() + ".decision");
    auto decision = bytes ? Decision::decode(*bytes) : Result<Decision>(bytes.error());
    if (!decision) return reject(id, "decision", decision.error().message);
    waiting.decision = std::move(*decision);
    const Decision& made = *waiting.decision;
    if (!made.approve)
        return reject(
            id,
            waiting.held.verdict.rule,
            made.reason.empty() ? std::string("not approved") : made.reason
        );
    if (!made.edited_argv.empty()) {
        // A new image, which comes to on_exec() and is compared there with what was approved.
        waiting.closed = false;
        edited_[waiting.pid] = id;
        if (!waiting.shim && tracer_.replace(
                                 waiting.pid,
                                 waiting.held.plan.executable.path,
                                 made.edited_argv,
                                 waiting.environment
                             ))
            return;
        edited_.erase(waiting.pid);
        return reject(id, waiting.held.verdict.rule, "the edited command cannot be executed");
    }
    std::string why = "content changed: what was approved is another plan";
    if (made.digest != waiting.held.digest || !still_same(waiting, why))
        return reject(id, "content", why);
    ask_claim(id);
}

void Guard::ask_claim(const std::string& id) {
    Waiting& waiting = waiting_.at(id);
    waiting.claiming = true;
    say(Word::kClaim, {id, waiting.held.claim, waiting.decision->approval, waiting.held.digest});
}

/// Reads everything again from the stopped image and its files.
bool Guard::still_same(const Waiting& waiting, std::string& why) {
    Image image = waiting.shim ? images_->read_shim(waiting.pid, waiting.asked_as)
                               : images_->read(waiting.pid);
    why = "content changed: " + image.refusal_reason;
    if (barred(image)) return false;
    if (const auto hashed = images_->hash(waiting.pid, image.plan, waiting.shim); !hashed) {
        why = hashed.error().message;
        return false;
    }
    why = "content changed";
    if (policy::digest(image.plan) != waiting.held.digest) return false;
    if (waiting.shim) return true;
    const auto open = [this](const std::string& path) { return images_->open_file(path); };
    if (!waiting.memory || !waiting.memory->is_unchanged(waiting.pid, open)) {
        why = "content changed: its memory was written to while it was held";
        return false;
    }
    if (!tracer_.has_memory_open()) return true;
    why = "content changed: a process of this run has a /proc/PID/mem open for writing";
    return false;
}

/// The exec of an edited command has come: judged by what a person approved, not by the policy.
bool Guard::take_edited(pid_t pid, Image& image) {
    const std::string id = edited_[pid];
    edited_.erase(pid);
    const auto found = waiting_.find(id);
    if (found == waiting_.end()) return false;
    Waiting& waiting = found->second;
    if (barred(image)) {
        reject(id, "content", "content changed: the edited command is another plan");
        return true;
    }
    image.plan.replaces = waiting.held.digest;
    waiting.held.plan = std::move(image.plan);
    close(id);
    return true;
}

void Guard::claim_edited(const std::string& id) {
    Waiting& waiting = waiting_.at(id);
    const auto hashed = images_->hash(waiting.pid, waiting.held.plan);
    waiting.held.digest = policy::digest(waiting.held.plan);
    if (!hashed || waiting.held.digest != waiting.decision->digest)
        return reject(id, "content", "content changed: the edited command is another plan");
    ask_claim(id);
}

void Guard::on_claimed(const std::vector<std::string>& texts) {
    const auto found = waiting_.find(texts[0]);
    if (found == waiting_.end() || !found->second.claiming) return;
    if (texts[1] != "go") return reject(texts[0], found->second.held.verdict.rule, texts[2]);
    std::string why;
    if (!still_same(found->second, why)) return reject(texts[0], "content", why);
    go_on(texts[0]);
}

void Guard::go_on(const std::string& id) {
    const Waiting& waiting = waiting_.at(id);
    policy::Verdict verdict = waiting.held.verdict;
    verdict.reason = waiting.decision->reason;
    if (waiting.decision->execution_timeout_ms > 0)
        verdict.execution_timeout = milliseconds{waiting.decision->execution_timeout_ms};
    start_watching(
        waiting.pid, waiting.held.plan, verdict, waiting.held.digest, waiting.decision->approval
    );
    if (waiting.shim) {
        watched_.erase(waiting.pid);
        door_.answer(waiting.pid, kShimAllow);
    } else {
        tracer_.go(waiting.pid);
    }
    forget(id, "continued");
}

void Guard::reject(const std::string& id, const std::string& rule, const std::string& reason) {
    const Waiting& waiting = waiting_.at(id);
    policy::Verdict verdict = waiting.held.verdict;
    verdict.action = policy::Action::kDeny;
    verdict.rule = rule;
    verdict.reason = reason;
    const std::string approval = waiting.decision ? waiting.decision->approval : std::string();
    deny(waiting.pid, waiting.held.plan, verdict, waiting.held.digest, approval);
    forget(id, "refused");
}

void Guard::forget(const std::string& id, const char* outcome) {
    const std::string name = id;  // the map's own key goes
    waiting_.erase(name);
    std::error_code ignored;
    std::filesystem::remove(held_file(name), ignored);
    std::filesystem::remove(held_file(name).string() + ".decision", ignored);
    say(Word::kUnheld, {name, outcome, ""});
}

void Guard::greet() {
    // Whatever was said to the former node agent, this one has heard nothing of.
    unsaid_.clear();
    told_audit_ = 0;
    std::error_code ignored;
    for (const auto& [id, waiting] : waiting_) {
        if (std::filesystem::exists(held_file(id), ignored)) say(Word::kHeld, {id});
        if (waiting.claiming)
            say(Word::kClaim,
                {id, waiting.held.claim, waiting.decision->approval, waiting.held.digest});
    }
}

void Guard::tell() {
    (void)audit_.flush();
    while (!unsaid_.empty()) {
        if (!host_.send_word({unsaid_.front().first, 0, 0, 0, 0, unsaid_.front().second})) break;
        unsaid_.pop_front();
    }
    if (told_audit_ != audit_.written() && !tell_audit_at_)
        tell_audit_at_ = std::chrono::steady_clock::now() + kAuditPause;
    // What nobody hears is said by greet(); kUnheld shows by the file that is gone.
    constexpr std::size_t kMostUnsaid = 4 * kMaxHeld;
    while (unsaid_.size() > kMostUnsaid) unsaid_.pop_front();
}

std::optional<Guard::Time> Guard::next_timer() const {
    std::optional<Time> next = look_at_;
    if (tell_audit_at_ && (!next || *tell_audit_at_ < *next)) next = tell_audit_at_;
    if (frozen_by_ && (!next || *frozen_by_ < *next)) next = frozen_by_;
    for (const auto& [family, timed] : timed_) {
        if (!next || timed.at < *next) next = timed.at;
    }
    return next;
}

void Guard::on_timers() {
    const auto now = std::chrono::steady_clock::now();
    if (tell_audit_at_ && now >= *tell_audit_at_) {
        tell_audit_at_.reset();
        if (host_.send_word({Word::kAudited, 0, audit_.written(), 0, 0, {}}))
            told_audit_ = audit_.written();
    }
    if (look_at_ && now >= *look_at_) {
        look_at_.reset();
        for (const auto& [id, waiting] : waiting_) {
            if (!waiting.shim) (void)tracer_.let_die(waiting.pid);
        }
        if (!waiting_.empty()) look_at_ = now + kSignalLook;
    }
    if (frozen_by_) watch_freezing();
    watch_times(now);
}

void Guard::freeze(const std::string& halt) {
    freezing_ = halt;
    tracer_.freeze();
    frozen_by_ = std::chrono::steady_clock::now();
    freeze_until_ = *frozen_by_ + kFreezePatience;
    watch_freezing();
}

void Guard::watch_freezing() {
    const auto now = std::chrono::steady_clock::now();
    if (tracer_.running() > 0 && now < freeze_until_) {
        frozen_by_ = now + kFreezeLook;
        return;
    }
    frozen_by_.reset();
    unsaid_.emplace_back(Word::kFrozen, pack({freezing_, "ptrace"}));
}

}  // namespace berth::node
