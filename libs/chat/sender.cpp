// SPDX-License-Identifier: Apache-2.0
// Choosing, calling, recording.
#include "chat/sender.hpp"

#include <algorithm>
#include <array>

#include "chat/length.hpp"
#include "core/backoff.hpp"
#include "core/json.hpp"
#include "core/random.hpp"
#include "core/text.hpp"
#include "identity/sha256.hpp"
#include "log/log.hpp"

namespace berth::chat {
namespace {

constexpr milliseconds kSenderPoll{500};  // what nobody rang for: rows of another instance
constexpr milliseconds kFirstRetry{500};
constexpr milliseconds kLongestRetry{30'000};
constexpr milliseconds kLongestPause{std::chrono::hours{24}};  // longer is no answer
constexpr milliseconds kRefusedRetry{5'000};
constexpr milliseconds kDatabaseRetry{200};
constexpr int kDoubtfulAtOnce = 16;
constexpr milliseconds kDoubtEvery{1'000};
constexpr const char* kNotTwice =
    "it is not known whether it was posted, and it is not posted twice: ";
constexpr int kMaxDoubts = 1;  // one message may be doubled once, not more
// Cards whose buttons are remembered in clear text, so that an edit leaves them as they are.
constexpr std::size_t kMaxRemembered = 2'000;
constexpr std::size_t kDeadLetterText = 4'000;
constexpr std::size_t kMaxReason = 500;

/// A header's value.
std::string one_line(std::string text) {
    for (char& c : text) {
        if (static_cast<unsigned char>(c) < 0x20) c = ' ';
    }
    return clipped(text, kMaxReason);
}

std::string new_token() {
    std::array<std::uint8_t, 16> bytes{};
    Random::system().fill(bytes);
    return base64url({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace

Sender::Sender(Parts& parts, Platform& platform)
    : parts_(parts),
      platform_(platform),
      limiter_(
          platform.traits().per_conversation, platform.traits().overall, platform.traits().rate_of
      ),
      crew_([this](const Task& task) {
          task();
          parts_.outbound.ring();
      }) {
    const Rate& own = platform.traits().edits_per_conversation;
    if (own.per_second > 0) edit_limiter_.emplace(own, platform.traits().overall);
}

Sender::~Sender() { stop(); }

void Sender::start() {
    crew_.start(kSenders, parts_.outbound, [this] { return choose(); });
}

void Sender::stop() { crew_.stop(); }

milliseconds Sender::choose() {
    if (!record_left()) return kDatabaseRetry;
    const SteadyTime now = std::chrono::steady_clock::now();
    milliseconds wait = kSenderPoll;
    {
        const std::lock_guard lock(mutex_);
        wait = edits().next(now, limiter_.next(now, wait));
        if (refused_until_ > now) return wait;
    }
    if (now >= next_doubt_) {
        give_doubtful();
        next_doubt_ = now + kDoubtEvery;
    }
    const bool edited = give_edits();
    const bool posted = give_posts();
    return edited || posted ? milliseconds{0} : wait;
}

std::size_t Sender::free_senders() {
    if (crew_.stopping()) return 0;
    const std::lock_guard lock(mutex_);
    return busy_ >= kSenders ? 0 : kSenders - busy_;
}

void Sender::give(const OutboundRow& row, Task task) {
    {
        const std::lock_guard lock(mutex_);
        under_way_.insert(row.id);
        ++busy_;
    }
    (void)crew_.give([this, id = row.id, run = std::move(task)] {
        run();
        const std::lock_guard done(mutex_);
        under_way_.erase(id);
        --busy_;
    });
}

void Sender::give_doubtful() {
    std::vector<std::int64_t> under_way;
    {
        const std::lock_guard lock(mutex_);
        under_way.assign(under_way_.begin(), under_way_.end());
    }
    if (free_senders() == 0) return;
    const auto rows = repo::doubtful_outbound(parts_.pool(), under_way, kDoubtfulAtOnce);
    if (!rows) return;
    for (const auto& row : *rows) give(row, [this, row] { resolve(row); });
}

bool Sender::give_posts() {
    std::vector<std::string> held;
    std::size_t limit = free_senders();
    {
        const std::lock_guard lock(mutex_);
        const SteadyTime now = std::chrono::steady_clock::now();
        held = limiter_.held_back("post", now);
        limit = std::min(limit, limiter_.available("post", now));
    }
    if (limit == 0) return false;
    auto rows = repo::claim_outbound(parts_.pool(), held, limit);
    if (!rows) {
        log::warning("messages cannot be read", {{"error", rows.error()}});
        return false;
    }
    for (auto& row : *rows) {
        if (row.expired) {
            expired(row);
            continue;
        }
        {
            const std::lock_guard lock(mutex_);
            limiter_.take(row.outgoing.conversation.chat, std::chrono::steady_clock::now());
        }
        give(row, [this, row] { post(row); });
    }
    return !rows->empty();
}

bool Sender::give_edits() {
    const bool in_place = platform_.traits().edits;
    std::vector<std::int64_t> under_way;
    std::vector<std::string> held;
    std::vector<std::string> low;
    std::size_t limit = free_senders();
    {
        const std::lock_guard lock(mutex_);
        const SteadyTime now = std::chrono::steady_clock::now();
        under_way.assign(under_way_.begin(), under_way_.end());
        held = edits().held_back("edit", now);
        // A run's progress leaves room for a decision, which somebody waits for; as somebody does
        // for its end, all that is said where nothing can be changed in place.
        const Rate& own = platform_.traits().edits_per_conversation;
        const Rate& rate = own.per_second > 0 ? own : platform_.traits().per_conversation;
        const double reserve = in_place ? std::max(0.0, (rate.burst - 1.0) / 2) : 0.0;
        low = edits().held_back("edit", now, reserve);
        limit = std::min(limit, edits().available("edit", now));
    }
    if (limit == 0) return false;
    auto rows = repo::changed_outbound(parts_.pool(), under_way, held, low, limit);
    if (!rows) return false;
    for (auto& row : *rows) {
        if (!in_place && !row.outgoing.content.card.buttons.empty()) {  // no message, no budget
            give(row, [this, row] {
                persist([&] { return repo::mark_shown(parts_.pool(), row.id, row.revision); });
            });
            continue;
        }
        {
            const std::lock_guard lock(mutex_);
            edits().take(row.outgoing.conversation.chat, std::chrono::steady_clock::now());
        }
        give(row, [this, row] { edit(row); });
    }
    return !rows->empty();
}

/// A token per button, of which only the hash is kept. A card that is drawn again keeps those it
/// has, as far as this process knows them.
Result<void> Sender::draw_buttons(OutboundRow& row) {
    auto& buttons = row.outgoing.content.card.buttons;
    if (!row.outgoing.content.is_card || buttons.empty()) return {};
    std::vector<std::string> texts;
    std::string drawn = row.key;
    for (const auto& button : buttons) drawn += "/" + button.token;
    {
        const std::lock_guard lock(tokens_mutex_);
        if (const auto known = tokens_.find(drawn); known != tokens_.end()) texts = known->second;
    }
    if (texts.empty()) {
        std::vector<std::pair<std::string, std::string>> rows;
        for (const auto& button : buttons) {
            texts.push_back(new_token());
            rows.emplace_back(hex(identity::sha256(texts.back())), button.token);
        }
        BERTH_TRY(repo::insert_buttons(parts_.pool(), row.key, rows));
        const std::lock_guard lock(tokens_mutex_);
        if (tokens_.size() >= kMaxRemembered) tokens_.erase(tokens_.begin());
        tokens_[drawn] = texts;
    }
    for (std::size_t i = 0; i < buttons.size(); ++i) buttons[i].token = texts[i];
    return {};
}

void Sender::post(OutboundRow row) {
    if (const auto drawn = draw_buttons(row); !drawn) {
        retry(
            row,
            {SendError::Kind::kLater, milliseconds{0}, drawn.error().code},
            row.outgoing.plain,
            row.doubts
        );
        return;
    }
    const SteadyTime began = std::chrono::steady_clock::now();
    const SendResult<Sent> result = platform_.post(row.outgoing);
    parts_.metrics.post_seconds.observe(std::chrono::steady_clock::now() - began);
    settle(row, result);
}

void Sender::settle(const OutboundRow& row, const SendResult<Sent>& result) {
    if (result.value) {
        parts_.health.set_refused({});
        const bool recorded = persist([&] {
            return repo::mark_sent(parts_.pool(), row.id, result.value->message, row.revision);
        });
        // The term ends with the database; the next one would take it for doubtful and repeat it.
        if (!recorded) parts_.unrecorded.add({row.id, result.value->message, row.revision});
        parts_.metrics.sent.add();
        return;
    }
    const SendError& error = result.error;
    switch (error.kind) {
        case SendError::Kind::kUnknown: doubt(row, error.reason); break;
        case SendError::Kind::kBadMarkup:
            if (row.outgoing.plain) {
                fail(row, error.reason);
            } else {
                retry(
                    row,
                    {SendError::Kind::kBadMarkup, milliseconds{1}, error.reason},
                    true,
                    row.doubts
                );
            }
            break;
        case SendError::Kind::kUnauthorized:
            refuse(error.reason);
            retry(row, error, row.outgoing.plain, row.doubts);
            break;
        case SendError::Kind::kRefused:
        case SendError::Kind::kGone:
        case SendError::Kind::kUnchanged: fail(row, error.reason); break;
        case SendError::Kind::kFailed:
            if (platform_.traits().can_find || row.kind == OutboundKind::kApproval) {
                doubt(row, error.reason);
                break;
            }
            [[fallthrough]];
        case SendError::Kind::kLater:
            pause(row, "post", error);
            retry(row, error, row.outgoing.plain, row.doubts);
            break;
    }
}

/// The credential is refused.
void Sender::refuse(const std::string& reason) {
    parts_.health.set_refused(reason);
    const std::lock_guard lock(mutex_);
    refused_until_ = std::chrono::steady_clock::now() + kRefusedRetry;
}

/// It may have gone out.
void Sender::doubt(const OutboundRow& row, const std::string& reason) {
    parts_.metrics.doubted.add();
    if (platform_.traits().can_find) {
        // Left marked: found by the next look, which asks the platform.
        log::info(
            "it is not known whether a message went out", {{"key", row.key}, {"why", reason}}
        );
        return;
    }
    if (row.kind == OutboundKind::kApproval || row.doubts >= kMaxDoubts) {
        fail(row, kNotTwice + reason);
    } else {
        retry(
            row,
            {SendError::Kind::kLater, milliseconds{0}, reason},
            row.outgoing.plain,
            row.doubts + 1
        );
    }
}

SendResult<std::optional<Sent>> Sender::look_for(const OutboundRow& row) {
    {
        const std::lock_guard lock(mutex_);
        const SteadyTime now = std::chrono::steady_clock::now();
        if (limiter_.paused(row.outgoing.conversation.chat, "find", now))
            return {std::nullopt, {SendError::Kind::kLater, {}, "the platform asked to wait"}};
    }
    auto found = platform_.find(row.outgoing);
    if (!found.value) pause(row, "find", found.error);
    return found;
}

void Sender::resolve(OutboundRow row) {
    if (!platform_.traits().can_find) {
        doubt(row, "the bridge ended while it was being sent");
        return;
    }
    const auto found = look_for(row);
    if (!found.value) {
        if (found.error.kind == SendError::Kind::kUnauthorized) {
            refuse(found.error.reason);
        }
        if (found.error.kind == SendError::Kind::kRefused) {
            fail(row, found.error.reason);
        } else if (row.expires_at <= parts_.now()) {  // what comes behind it waits no longer
            fail(row, kNotTwice + found.error.reason);
        }
        return;  // else asked again at the next look
    }
    if (*found.value) {
        // What it shows is not known: drawn anew.
        persist([&] {
            return repo::mark_sent(
                parts_.pool(),
                row.id,
                (*found.value)->message,
                row.outgoing.content.is_card ? 0 : row.revision
            );
        });
        parts_.metrics.sent.add();
    } else {
        persist([&] {
            return repo::mark_pending(
                parts_.pool(), row.id, parts_.now(), row.outgoing.plain, row.doubts
            );
        });
    }
}

void Sender::edit(OutboundRow row) {
    if (const auto drawn = draw_buttons(row); !drawn) return;
    if (!platform_.traits().edits) {  // a post, and told as one before it is made
        if (row.edit_doubts > kMaxDoubts)
            return give_up_edit(row, "the bridge ended twice under it");
        persist([&] {
            return repo::mark_edit(parts_.pool(), row, parts_.now(), row.edit_doubts + 1);
        });
    }
    SendResult<Sent> result = platform_.edit(row.outgoing.conversation, row.message, row.outgoing);
    if (!result.value && result.error.kind == SendError::Kind::kBadMarkup && !row.outgoing.plain) {
        row.outgoing.plain = true;
        result = platform_.edit(row.outgoing.conversation, row.message, row.outgoing);
    }
    if (!result.value) return settle_edit(row, result.error);
    parts_.health.set_refused({});
    parts_.metrics.edited.add();
    const std::string said = platform_.traits().edits ? "" : result.value->message;
    persist([&] { return repo::mark_shown(parts_.pool(), row.id, row.revision, said); });
}

void Sender::settle_edit(const OutboundRow& row, const SendError& error) {
    switch (error.kind) {
        case SendError::Kind::kUnknown:
            if (platform_.traits().edits) {  // made twice it is the same
                postpone(row, error, 0);
            } else if (row.edit_doubts < kMaxDoubts) {
                parts_.metrics.doubted.add();
                postpone(row, error, row.edit_doubts + 1);
            } else {
                give_up_edit(row, kNotTwice + error.reason);
            }
            break;
        case SendError::Kind::kLater:
        case SendError::Kind::kFailed: postpone(row, error, row.edit_doubts); break;
        case SendError::Kind::kUnauthorized:
            refuse(error.reason);
            postpone(row, error, row.edit_doubts);
            break;
        case SendError::Kind::kRefused:
        case SendError::Kind::kBadMarkup: give_up_edit(row, error.reason); break;
        case SendError::Kind::kGone:
            log::info("a message cannot be changed", {{"key", row.key}, {"why", error.reason}});
            [[fallthrough]];
        case SendError::Kind::kUnchanged:
            persist([&] { return repo::mark_shown(parts_.pool(), row.id, row.revision); });
    }
}

void Sender::postpone(const OutboundRow& row, const SendError& error, int doubts) {
    const auto failing = std::chrono::ceil<milliseconds>(parts_.now() - row.edit_since);
    if (failing > (platform_.traits().edits ? milliseconds{kEditTtl} : milliseconds{kReplyTtl}))
        return give_up_edit(row, error.reason);
    parts_.metrics.retried.add();
    pause(row, "edit", error);
    const milliseconds wait = std::max(
        std::min(error.retry_after, kLongestPause), std::clamp(failing, kFirstRetry, kLongestRetry)
    );
    persist([&] { return repo::mark_edit(parts_.pool(), row, parts_.now() + wait, doubts); });
}

void Sender::retry(const OutboundRow& row, const SendError& error, bool plain, int doubts) {
    parts_.metrics.retried.add();
    const milliseconds wait = error.retry_after.count() > 0
                                  ? std::min(error.retry_after, kLongestPause)
                                  : backoff(row.attempts - 1, kFirstRetry, kLongestRetry);
    persist([&] {
        return repo::mark_pending(parts_.pool(), row.id, parts_.now() + wait, plain, doubts);
    });
}

void Sender::expired(const OutboundRow& row) {
    parts_.metrics.expired.add();
    log::warning("a message was too old to be sent", {{"key", row.key}});
}

void Sender::fail(const OutboundRow& row, const std::string& reason) {
    bury(row, row.key + "/dlq", reason, [&](store::Transaction& tx) {
        return repo::mark_failed(tx, row.id, reason);
    });
}

void Sender::give_up_edit(const OutboundRow& row, const std::string& reason) {
    const std::string letter = row.key + "/" + std::to_string(row.revision) + "/dlq";
    bury(row, letter, reason, [&](store::Transaction& tx) {
        return repo::mark_shown(tx, row.id, row.revision);
    });
}

void Sender::bury(
    const OutboundRow& row,
    const std::string& letter_id,
    const std::string& reason,
    const Mark& mark
) {
    given_up(row, reason);
    persist([&] { return write_letter(row, letter_id, reason, mark); });
}

void Sender::given_up(const OutboundRow& row, const std::string& reason) {
    parts_.metrics.failed.add();
    log::warning("a message was given up", {{"key", row.key}, {"why", reason}});
}

Result<void> Sender::write_letter(
    const OutboundRow& row,
    const std::string& letter_id,
    const std::string& reason,
    const Mark& mark
) {
    store::OutboxMessage letter;
    letter.message_id = letter_id;
    letter.subject = "berth.dlq.chat." + parts_.token();
    letter.headers = {
        {"berth-dlq-reason", reason.empty() ? "refused" : one_line(reason)},
        {"berth-dlq-chat", row.outgoing.conversation.chat}};
    // The bus's client reads no header at all where one is empty.
    if (!row.outgoing.conversation.thread.empty())
        letter.headers.emplace_back("berth-dlq-thread", row.outgoing.conversation.thread);
    const Content& content = row.outgoing.content;
    Json body = Json::object();
    body.set("key", row.key);
    body.set("follows", row.follows);
    body.set(
        "text",
        content.is_card ? content.card.title
                        : cut(content.markdown, kDeadLetterText, Unit::kCodePoints)
    );
    letter.payload = body.dump();
    auto done = parts_.pool().transact([&](store::Transaction& tx) -> Result<store::OutboxMessage> {
        store::OutboxMessage out = letter;
        BERTH_TRY(mark(tx));
        BERTH_TRY(store::Outbox::add(tx, out));
        return out;
    });
    if (!done) return done.error();
    parts_.runtime.relay().publish_committed({std::move(*done)});
    return {};
}

Result<void> Sender::undelivered(const Undelivered& told) {
    BERTH_ASSIGN(const auto rows, repo::sent_or_going(parts_.pool(), told.message, told.chat));
    const auto row = std::find_if(rows.begin(), rows.end(), [&](const OutboundRow& one) {
        return one.message == told.message || one.said == told.message;
    });
    if (row == rows.end()) {
        if (rows.empty()) return {};
        return unavailable("not_known_yet", "a message is just going out there");
    }
    const bool said = row->said == told.message;
    if (told.otherwise && !row->outgoing.otherwise && (said || row->expires_at > parts_.now())) {
        log::info("a message goes out otherwise", {{"key", row->key}, {"why", told.reason}});
        parts_.metrics.retried.add();
        BERTH_TRY(repo::mark_otherwise(parts_.pool(), *row, said, parts_.now()));
        parts_.outbound.ring();
        return {};
    }
    const auto done = write_letter(
        *row,
        row->key + (said ? "/said/" + std::to_string(row->revision) : "") + "/dlq",
        told.reason,
        [&](store::Transaction& tx) {
            return said ? repo::forget_said(tx, row->id)
                        : repo::mark_failed(tx, row->id, told.reason);
        }
    );
    if (!done) {
        if (done.error().code == "unique_violation") return {};  // told twice at once
        return done.error();
    }
    given_up(*row, told.reason);
    return {};
}

void Sender::pause(const OutboundRow& row, std::string_view route, const SendError& error) {
    if (error.retry_after.count() <= 0) return;
    const std::lock_guard lock(mutex_);
    Limiter& limiter = route == "edit" ? edits() : limiter_;
    const SteadyTime until =
        std::chrono::steady_clock::now() + std::min(error.retry_after, kLongestPause);
    if (error.everywhere) {
        limiter.pause_all(route, until);
    } else {
        limiter.pause(row.outgoing.conversation.chat, route, until);
    }
}

bool Sender::persist(const std::function<Result<void>()>& write) {
    for (;;) {
        const auto done = write();
        // A unique violation: the dead letter is there already.
        if (done || done.error().code == "unique_violation") return true;
        if (!is_outage(done.error())) {
            log::error("the state of a message cannot be stored", {{"error", done.error()}});
            return true;
        }
        if (!crew_.rest(kDatabaseRetry)) return false;
    }
}

bool Sender::record_left() {
    bool all = true;
    for (auto& sent : parts_.unrecorded.take()) {
        const auto done = repo::mark_sent(parts_.pool(), sent.row, sent.message, sent.revision);
        if (done || !is_outage(done.error())) continue;
        all = false;
        parts_.unrecorded.add(std::move(sent));
    }
    return all;
}

}  // namespace berth::chat
