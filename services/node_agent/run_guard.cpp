// SPDX-License-Identifier: Apache-2.0
// Words of a supervisor become commands to warden, and its answers words.
#include "node_agent/run_guard.hpp"

#include <algorithm>
#include <charconv>

#include "core/id.hpp"
#include "log/log.hpp"
#include "node_agent/audit_log.hpp"
#include "node_agent/warden_link.hpp"
#include "policy/wire.hpp"
#include "service/proto_time.hpp"

namespace berth::node {
namespace {

constexpr std::size_t kMostBatchBytes = 256U << 10U;  // far below what a message may have
constexpr std::size_t kMostPath = 4'096;

}  // namespace

RunGuard::RunGuard(
    NodeContext context, const v1::Start& spec, std::filesystem::path folder, Run run
)
    : context_(context), spec_(spec), folder_(std::move(folder)), run_(std::move(run)) {
    if (const auto text = read_file(folder_ / "audit.done"))
        (void)std::from_chars(text->data(), text->data() + text->size(), audited_);
}

warden::v1::Origin RunGuard::origin() const {
    warden::v1::Origin origin;
    origin.set_org(context_.settings.org);
    origin.set_user(spec_.user());
    origin.set_lease(spec_.lease().empty() ? context_.settings.lease : spec_.lease());
    origin.set_machine(context_.settings.machine);
    origin.set_run(spec_.run());
    origin.set_profile(context_.settings.profile);
    origin.set_agent(spec_.agent());
    origin.set_level(to_proto(context_.settings.guard));
    return origin;
}

void RunGuard::send_texts(Word word, std::vector<std::string> texts) {
    const std::string data = pack(texts);
    (void)run_.send({word, 0, 0, 0, 0, data});
}

bool RunGuard::on_word(const RunWord& word) {
    if (word.word == Word::kAudited) {
        drain();
        return true;
    }
    if (word.word == Word::kGone) tree_gone_ = true;
    if (word.word != Word::kHeld && word.word != Word::kUnheld && word.word != Word::kClaim &&
        word.word != Word::kFrozen)
        return false;
    const auto texts = unpack(word.data);
    if (!texts || texts->empty()) return true;
    if (word.word == Word::kHeld) held(texts->front());
    if (word.word == Word::kUnheld && texts->size() == 3) unheld(*texts);
    if (word.word == Word::kClaim && texts->size() == 4) claim(*texts);
    if (word.word == Word::kFrozen && texts->size() == 2) frozen_ = (*texts)[1];
    return true;
}

void RunGuard::held(const std::string& id) {
    // Decided while nobody was here to say so.
    std::error_code error;
    if (std::filesystem::exists(held_file(id).string() + ".decision", error))
        send_texts(Word::kDecide, {id});
    if (approvals_.emplace(id, std::string()).second) ask(id);
}

void RunGuard::ask_again() {
    for (const auto& [id, approval] : approvals_) {
        // Whoever was not answered yet asks on by itself.
        if (!approval.empty()) ask(id);
    }
}

/// Also when it was asked before: warden knows what is held by its name.
void RunGuard::ask(const std::string& id) {
    const auto bytes = read_file(held_file(id));
    const auto held = bytes ? Held::decode(*bytes) : Result<Held>(bytes.error());
    if (!held)
        return log::warning(
            "a held command cannot be read", {{"run", spec_.run()}, {"error", held.error()}}
        );
    warden::v1::Ask ask;
    *ask.mutable_plan() = to_proto(held->plan, held->digest);
    *ask.mutable_origin() = origin();
    ask.set_policy_version(held->policy_version);
    *ask.mutable_terms() = policy::to_terms(held->verdict, held->policy_version);
    ask.set_held(id);
    context_.warden.ask_surely(
        "ask",
        ask,
        // Another each time: the answer to the first would be that of then.
        make_ulid(Clock::system().now(), Random::system()),
        weak_from_this(),
        [this, id](const Result<std::string>& answer) {
            if (answer) return on_approval(id, *answer);
            Decision refused;
            refused.held = id;
            refused.reason = answer.error().message;
            write_decision(refused);
        }
    );
}

void RunGuard::on_approval(const std::string& id, const std::string& payload) {
    warden::v1::Approval approval;
    if (!approval.ParseFromString(payload)) return;
    const auto known = approvals_.find(id);
    if (known == approvals_.end()) {  // it died while it was asked about
        if (approval.state() == warden::v1::APPROVAL_STATE_PENDING) abandon(approval.id());
        return;
    }
    const bool first = std::exchange(known->second, approval.id()).empty();
    if (approval.state() == warden::v1::APPROVAL_STATE_PENDING) {
        if (first) tell("held", id);
        return;
    }
    Decision decision;
    decision.held = id;
    decision.approval = approval.id();
    decision.approve = approval.state() == warden::v1::APPROVAL_STATE_APPROVED;
    decision.digest = approval.plan().digest();
    decision.reason = approval.comment();
    if (approval.terms().has_execution_timeout())
        decision.execution_timeout_ms =
            service::to_milliseconds(approval.terms().execution_timeout()).count();
    if (!approval.plan().replaces().empty())
        decision.edited_argv.assign(approval.plan().argv().begin(), approval.plan().argv().end());
    write_decision(decision);
}

void RunGuard::tell(std::string_view fact, const std::string& id) {
    v1::RunHeld event;
    event.set_run(spec_.run());
    event.set_approval(approvals_[id]);
    *event.mutable_at() = service::to_timestamp(Clock::system().now());
    publish_surely(
        context_,
        make_run_event(context_.settings, spec_.run(), fact, event, id),
        weak_from_this(),
        [] {}
    );
}

bool RunGuard::holds(const std::string& held) const {
    std::error_code error;
    return std::filesystem::exists(held_file(held), error);
}

Result<void> RunGuard::decide(const v1::Decide& command) {
    Decision decision;
    decision.held = command.held();
    decision.approval = command.approval();
    decision.digest = command.digest();
    decision.approve = command.approve();
    decision.reason = command.reason();
    if (command.has_execution_timeout())
        decision.execution_timeout_ms =
            service::to_milliseconds(command.execution_timeout()).count();
    decision.edited_argv.assign(command.edited_argv().begin(), command.edited_argv().end());
    // A denial says its reason itself, on the command's stderr.
    if (decision.approve && !decision.reason.empty() && holds(decision.held))
        (void
        )run_.send({Word::kNotice, 0, 0, 0, 0, "approved: " + policy::show_text(decision.reason)});
    write_decision(decision);
    return {};
}

/// The first one counts; its file waits for a supervisor that is not heard just now.
void RunGuard::write_decision(const Decision& decision) {
    if (!holds(decision.held)) return;
    const std::string path = held_file(decision.held).string() + ".decision";
    std::error_code error;
    if (!std::filesystem::exists(path, error)) {
        const unsigned mode = context_.settings.container ? kSharedMode : 0600;
        const auto written = write_file_atomic(path, decision.encode(), mode);
        if (!written)
            return log::warning("a decision cannot be kept", {{"error", written.error()}});
    }
    send_texts(Word::kDecide, {decision.held});
}

void RunGuard::claim(const std::vector<std::string>& texts) {
    warden::v1::Claim claim;
    claim.set_approval(texts[2]);
    claim.set_digest(texts[3]);
    claim.set_held(texts[0]);
    context_.warden.ask_surely(
        "claim",
        claim,
        texts[1],
        weak_from_this(),
        [this, id = texts[0]](const Result<std::string>& answer) {
            warden::v1::Claimed claimed;
            if (!answer)
                claimed.set_reason(answer.error().message);
            else if (!claimed.ParseFromString(*answer))
                claimed.set_reason("warden's answer makes no sense");
            send_texts(Word::kClaimed, {id, claimed.go() ? "go" : "", claimed.reason()});
        }
    );
}

void RunGuard::unheld(const std::vector<std::string>& texts) {
    const auto known = approvals_.find(texts[0]);
    if (known == approvals_.end()) return;
    if (texts[1] == "abandoned" && !known->second.empty()) abandon(known->second);
    if (approvals_.size() == 1) tell("continued", texts[0]);
    approvals_.erase(texts[0]);
}

void RunGuard::abandon(const std::string& approval) {
    warden::v1::Abandon gone;
    gone.set_approval(approval);
    gone.set_reason("the command is gone");
    context_.warden.ask_surely(
        "abandon",
        gone,
        WardenLink::command_id("abandon/" + approval),
        weak_from_this(),
        [](const Result<std::string>&) {}
    );
}

bool RunGuard::drained() const {
    std::error_code error;
    const auto size = std::filesystem::file_size(folder_ / "audit", error);
    return error || size <= audited_;
}

void RunGuard::finish() {
    std::vector<std::string> left;
    for (const auto& [id, approval] : approvals_) left.push_back(id);
    for (const auto& id : left) unheld({id, "abandoned", ""});
    drain();
}

warden::v1::AuditRecord RunGuard::record_of(const AuditEntry& entry) const {
    warden::v1::AuditRecord record;
    record.set_org(context_.settings.org);
    *record.mutable_at() = service::to_timestamp(from_unix_micros(entry.at_us));
    record.set_fact(entry.fact);
    record.set_user(spec_.user());
    *record.mutable_origin() = origin();
    record.set_rule(entry.rule);
    record.set_action(entry.action);
    // A path need not be UTF-8, and a reason may name one.
    record.set_reason(policy::show_plain(entry.reason, kMostPath));
    record.set_digest(entry.digest);
    if (!entry.argv.empty()) record.set_command(policy::show_masked_argv(entry.argv));
    record.set_executable(policy::show_plain(entry.executable, kMostPath));
    if (entry.exit_code) record.set_exit_code(*entry.exit_code);
    record.set_output_sha256(entry.output_sha256);
    record.set_approval(entry.approval);
    record.set_subject(spec_.run());
    record.set_pid(entry.pid);
    return record;
}

void RunGuard::drain() {
    if (draining_) return;
    std::uint64_t until = audited_;
    const auto entries = read_audit(folder_ / "audit", until, batch_);
    if (!entries) {
        log::warning(
            "a run's audit cannot be read", {{"run", spec_.run()}, {"error", entries.error()}}
        );
        audited_ = ~0ULL;
        return run_.drained();
    }
    if (entries->empty()) return run_.drained();
    warden::v1::Record batch;
    for (const AuditEntry& entry : *entries) *batch.add_records() = record_of(entry);
    if (entries->size() > 1 && batch.ByteSizeLong() > kMostBatchBytes) {
        batch_ = entries->size() / 2;
        return drain();
    }
    send(std::move(batch), until, false);
}

void RunGuard::send(warden::v1::Record batch, std::uint64_t until, bool mark) {
    draining_ = true;
    // What a batch holds depends on how far the supervisor was: its end is part of its name.
    const std::string id = WardenLink::command_id(
        (mark ? "audit-refused/" : "audit/") + spec_.run() + "/" + std::to_string(audited_) + "/" +
        std::to_string(until)
    );
    context_.warden.ask_surely(
        "record",
        batch,
        id,
        weak_from_this(),
        [this, until, mark, batch](const Result<std::string>& answer) {
            draining_ = false;
            if (!answer) return refused(batch, until, mark, answer.error());
            batch_ = std::min(batch_ * 2, kMostBatch);
            audited(until);
        }
    );
}

/// One record that warden does not take must not take the others with it: the batch is halved until
/// it is found, and what stands for it says so.
void RunGuard::refused(
    const warden::v1::Record& batch, std::uint64_t until, bool mark, const Error& error
) {
    if (batch.records_size() > 1) {
        batch_ = static_cast<std::size_t>(batch.records_size()) / 2;
        return drain();
    }
    log::warning(
        "warden does not take a record of the audit", {{"run", spec_.run()}, {"error", error}}
    );
    if (mark) return audited(until);
    AuditEntry entry;
    entry.fact = "audit_refused";
    entry.at_us = to_unix_micros(service::to_wall_time(batch.records(0).at()));
    entry.reason = batch.records(0).fact() + ": " + error.message;
    entry.pid = batch.records(0).pid();
    warden::v1::Record told;
    *told.add_records() = record_of(entry);
    send(std::move(told), until, true);
}

void RunGuard::audited(std::uint64_t until) {
    audited_ = until;
    (void)write_file_atomic(folder_ / "audit.done", std::to_string(until), 0600);
    (void)run_.send({Word::kAuditDone, until, 0, 0, 0, {}});
    drain();
}

}  // namespace berth::node
