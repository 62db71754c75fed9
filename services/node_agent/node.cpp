// SPDX-License-Identifier: Apache-2.0
// Commands in, replies out, and the runs on disk.
#include "node_agent/node.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "berth/common/v1/common.pb.h"
#include "core/id.hpp"
#include "core/text.hpp"
#include "log/log.hpp"
#include "service/proto_time.hpp"

namespace berth::node {
namespace {

constexpr milliseconds kReplyPause{
    1'000};  // a reply that was not stored: its command comes again after this
constexpr milliseconds kPlacePause{250};      // a machine that is being started again
constexpr milliseconds kRunPause{50};         // a run whose supervisor is being started
constexpr milliseconds kConsumePause{2'000};  // a durable that is not there yet
constexpr milliseconds kTombstoneSweep{3'600'000};

/// A name that becomes a folder and a subject token.
Result<void> check_name(std::string_view name, const char* field) {
    if (is_subject_token(name)) return {};
    return invalid("bad_name", "must be 1 to 64 of a-z, 0-9, _ and -", field);
}

template <typename Message>
Result<Message> decode(const std::string& payload) {
    Message message;
    if (!message.ParseFromString(payload))
        return invalid("undecodable", "the command is not a " + message.GetTypeName());
    return message;
}

}  // namespace

Node::Node(Loop& loop, const Settings& settings, Place& place, bus::ConnectSettings bus)
    : loop_(loop),
      settings_(settings),
      place_(place),
      bus_(
          loop,
          std::move(bus),
          {[this](bus::Connection& connection) { on_bus_up(connection); },
           [this] { on_bus_down(); },
           [this] { on_bus_again(); }}
      ),
      warden_(std::make_shared<WardenLink>(loop, settings, [this] { on_warden(); })),
      copies_(
          loop,
          settings,
          place,
          {[this] { return syncs_.contains(sending_); },
           [this](const std::string& run) { return runs_.contains(run); }}
      ),
      context_{loop, bus_, settings, place, *warden_, copies_},
      renewal_(std::make_shared<Renewal>(context_)),
      halting_(std::make_shared<Halting>(context_, runs_)),
      cleaning_(std::make_shared<Cleaning>(context_, [this] { return quiet(); })) {}

Node::~Node() {
    bus_.stop();  // its last event reaches members that are destroyed before it
    on_bus_down();
    cleaning_.reset();
    syncs_.clear();
    halting_.reset();
    runs_.clear();
}

void Node::start() {
    ::mkdir((settings_.dir / "node" / "done").c_str(), 0700);
    warden_->start();
    take_up_runs();
    forget_old_tombstones();
    cleaning_->start();
    bus_.start();
    tell_presence();
    renewal_->start();
}

// ---- the bus
// ---------------------------------------------------------------------------------------------

void Node::on_bus_up(bus::Connection& connection) {
    consume(connection);
    renewal_->bus_up(connection);
    warden_->bus_up(connection);
    for (const auto& [id, run] : runs_) run->bus_up(connection);
}

void Node::on_bus_again() {
    send_presence();  // at once: the provisioner waits for the first word of a new machine
    for (const auto& [id, run] : runs_) run->guard().ask_again();
}

void Node::on_warden() {
    halting_->look();
    // A run that cannot be started ends, and is taken from the map by a later turn.
    for (const auto& [id, run] : runs_) run->policy_known();
}

void Node::on_bus_down() {
    consumer_.reset();
    renewal_->bus_down();
    warden_->bus_down();
    for (const auto& [id, run] : runs_) run->bus_down();
    for (const auto& [channel, sync] : syncs_) sync->abandon();
    syncs_.clear();
}

void Node::consume(bus::Connection& connection) {
    bus::ConsumerSettings settings;
    settings.stream = "CMD_NODE";
    settings.durable = "node-" + settings_.machine;
    settings.workers = 0;  // the handler only hands over
    auto consumer = connection.consume(settings, [this](bus::Delivery delivery) {
        auto shared = std::make_shared<bus::Delivery>(std::move(delivery));
        loop_.post([this, shared] { handle(shared); });
    });
    if (consumer) {
        consumer_ = std::move(*consumer);
        return;
    }
    log::warning("commands cannot be taken; trying again", {{"error", consumer.error()}});
    loop_.after(kConsumePause, [this] {
        if (bus_.connection() != nullptr && consumer_ == nullptr) consume(*bus_.connection());
    });
}

void Node::handle(const std::shared_ptr<bus::Delivery>& delivery) {
    const Result<void> outcome = dispatch(delivery->message());
    // Asked again until the machine is back or the command's deadline has passed.
    if (!outcome && outcome.error().code == kPlaceComing) return delivery->nak(kPlacePause);
    // The same for a run that is just starting: nobody else would say the cancel again.
    if (!outcome && outcome.error().code == kRunComing) return delivery->nak(kRunPause);
    if (!outcome && outcome.error().fault == Fault::kInternal) {
        log::warning(
            "a command failed",
            {{"subject", delivery->message().subject}, {"error", outcome.error()}}
        );
    }
    reply(delivery, outcome);
}

Result<void> Node::dispatch(const bus::Message& message) {
    const auto tokens = split(message.subject, '.');  // berth.cmd.node.<machine>.<verb>
    if (tokens.size() != 5 || tokens[3] != settings_.machine)
        return invalid("bad_subject", "not a command for this machine");
    const std::string_view verb = tokens[4];
    if (verb == "start") {
        BERTH_ASSIGN(const v1::Start command, decode<v1::Start>(message.payload));
        return start_run(command);
    }
    const std::string id(message.header(bus::kCeId));
    if (const auto known = outcomes_.find(id); !id.empty() && known != outcomes_.end())
        return known->second;
    const auto until = parse_rfc3339(message.header(bus::kDeadline));
    if (until && *until < Clock::system().now())
        return deadline("expired", "the command came after its deadline; nothing was done");
    Result<void> outcome =
        invalid("unknown_verb", "a node does not know this command; is it older than its asker?");
    if (verb == "signal") {
        auto command = decode<v1::Signal>(message.payload);
        outcome = command ? signal_run(*command) : Result<void>(command.error());
    } else if (verb == "decide") {
        auto command = decode<v1::Decide>(message.payload);
        outcome = command ? decide(*command) : Result<void>(command.error());
    } else if (verb == "open_sync") {
        auto command = decode<v1::OpenSync>(message.payload);
        outcome = command ? open_sync(*command) : Result<void>(command.error());
    } else if (verb == "clean") {
        auto command = decode<v1::Clean>(message.payload);
        outcome = command ? cleaning_->begin(*command) : Result<void>(command.error());
    }
    const bool passing = !outcome && outcome.error().fault == Fault::kUnavailable;
    if (!id.empty() && !passing) {
        outcomes_.emplace(id, outcome);
        outcome_order_.push_back(id);
        if (outcome_order_.size() > kRememberedCommands) {
            outcomes_.erase(outcome_order_.front());
            outcome_order_.pop_front();
        }
    }
    return outcome;
}

/// The command is acknowledged when its reply is stored, so that no answer is ever lost.
void Node::reply(const std::shared_ptr<bus::Delivery>& delivery, const Result<void>& outcome) {
    const bus::Message& command = delivery->message();
    const std::string_view reply_to = command.header(bus::kReplyTo);
    const std::string command_id(command.header(bus::kCeId));
    if (reply_to.empty() || command_id.empty()) return delivery->ack();  // nobody listens
    bus::Message message;
    message.subject = "";
    for (const std::string_view part :
         {reply_to,
          std::string_view(".node."),
          std::string_view(settings_.machine),
          std::string_view("."),
          std::string_view(command_id)}) {
        message.subject += part;
    }
    common::v1::Failure failure;
    common::v1::Empty empty;
    if (!outcome) {
        failure.set_fault(std::string(to_string(outcome.error().fault)));
        failure.set_code(outcome.error().code);
        failure.set_message(outcome.error().message);
        failure.set_field(outcome.error().field);
    }
    message.payload = outcome ? empty.SerializeAsString() : failure.SerializeAsString();
    const std::string ce_id = make_ulid(Clock::system().now(), Random::system());
    message.headers = {
        {std::string(bus::kMsgId), ce_id},
        {std::string(bus::kCeSpecVersion), "1.0"},
        {std::string(bus::kCeId), ce_id},
        {std::string(bus::kCeType), outcome ? empty.GetTypeName() : failure.GetTypeName()},
        {std::string(bus::kCeSource), "berth/node/" + settings_.machine},
        {std::string(bus::kCeTime), to_rfc3339(Clock::system().now())},
        {std::string(bus::kCorrelationId), std::string(command.header(bus::kCorrelationId))},
        {std::string(bus::kCausationId), std::string(command.header(bus::kMsgId))},
        {std::string(bus::kStatus), outcome ? "ok" : "failure"},
    };
    bus_.publish(std::move(message), [delivery](const Result<bus::PubAck>& result) {
        if (result)
            delivery->ack();
        else
            delivery->nak(kReplyPause);
    });
}

void Node::tell_presence() {
    // Destroyed while this agent was on its way up, too late for its identity to be found: nobody
    // else would ever end it.
    if (::access((settings_.dir / "node").c_str(), F_OK) != 0 && errno == ENOENT) {
        log::info("the machine's folder is gone; its node agent ends");
        return loop_.stop();
    }
    loop_.after(kPresenceEvery, [this] { tell_presence(); });
    send_presence();
}

void Node::send_presence() {
    if (bus_.connection() == nullptr) return;
    v1::Presence presence;
    presence.set_machine(settings_.machine);
    presence.set_org(settings_.org);
    for (const auto& [id, run] : runs_) {
        if (run->live()) presence.add_runs(id);
    }
    *presence.mutable_time() = service::to_timestamp(Clock::system().now());
    presence.set_version("0.1.0");
    presence.set_guard(std::string(policy::to_string(settings_.guard)));
    presence.set_freezer(Halting::mechanism(settings_));
    // Lost ones do not matter: the next comes in five seconds.
    (void)bus_.connection()->publish_plain(
        "berth.live.node." + settings_.machine, presence.SerializeAsString()
    );
}

// ---- runs
// ------------------------------------------------------------------------------------------------

bool Node::is_done(const std::string& run) const {
    return ::access((settings_.dir / "node" / "done" / run).c_str(), F_OK) == 0;
}

Result<void> Node::start_run(const v1::Start& command) {
    BERTH_TRY(check_name(command.run(), "run"));
    if (runs_.contains(command.run()) || is_done(command.run()))
        return {};  // a redelivery: recorded before
    if (command.argv().empty()) return invalid("no_command", "the run has no command", "argv");
    if (!command.org().empty() && command.org() != settings_.org)
        return forbidden("wrong_org", "the machine belongs to another org");
    if (runs_.size() >= kMaxRuns)
        return Error{Fault::kLimit, "too_many_runs", "the machine has too many live runs", {}};
    const bool late =
        command.has_start_by() && service::to_wall_time(command.start_by()) < Clock::system().now();
    // Recorded in any case: nobody waits for this answer, and where the run cannot be started its
    // end says why.
    v1::Start spec = command;
    // Its lease has ended and left the machine: the time for it is past.
    if (cleaning_->bars(command.lease()))
        *spec.mutable_start_by() = service::to_timestamp(from_unix_micros(1));
    BERTH_TRY(Run::record(settings_, spec));
    adopt(std::move(spec));
    if (late)
        return deadline("start_expired", "the machine got the run too late; it was not started");
    return {};
}

void Node::adopt(v1::Start spec) {
    const std::string id = spec.run();
    const auto run =
        std::make_shared<Run>(context_, std::move(spec), [this](const std::string& done) {
            // The run is on the stack of this call: it goes when the stack is unwound.
            loop_.post([this, done] {
                runs_.erase(done);
                copies_.tidy();
            });
        });
    runs_[id] = run;
    run->resume();
}

void Node::take_up_runs() {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(settings_.dir / "runs", error)) {
        const std::string id = entry.path().filename().string();
        const auto bytes = read_file(entry.path() / "spec.pb");
        v1::Start spec;
        // Without a spec it was never recorded: its command comes again.
        if (!bytes || !spec.ParseFromString(*bytes) || spec.run() != id) continue;
        if (is_done(id)) {  // only the removal was missing
            std::error_code ignored;
            std::filesystem::remove_all(entry.path(), ignored);
            continue;
        }
        log::info("taking up a run", {{"run", id}});
        adopt(std::move(spec));
    }
}

void Node::forget_old_tombstones() {
    std::error_code error;
    const auto limit = std::filesystem::file_time_type::clock::now() - kDoneKept;
    for (const auto& entry :
         std::filesystem::directory_iterator(settings_.dir / "node" / "done", error)) {
        std::error_code ignored;
        if (entry.last_write_time(ignored) < limit) std::filesystem::remove(entry.path(), ignored);
    }
    loop_.after(kTombstoneSweep, [this] { forget_old_tombstones(); });
}

/// A held process that is no more was abandoned: nobody's mistake.
Result<void> Node::decide(const v1::Decide& command) {
    BERTH_TRY(check_name(command.held(), "held"));
    for (const auto& [id, run] : runs_) {
        if (run->guard().holds(command.held())) return run->guard().decide(command);
    }
    return {};
}

Result<void> Node::signal_run(const v1::Signal& command) {
    BERTH_TRY(check_name(command.run(), "run"));
    const auto found = runs_.find(command.run());
    if (found == runs_.end()) {
        if (is_done(command.run())) return conflict("run_ended", "the run has ended");
        return not_found("run_not_found", "the machine does not know this run");
    }
    std::optional<milliseconds> kill_after;
    if (command.has_kill_after()) kill_after = service::to_milliseconds(command.kill_after());
    return found->second->signal(command.signal(), kill_after);
}

bool Node::quiet() {
    syncs_.clear();  // each kills its rsync
    copies_.abandon();
    bool none = true;
    for (const auto& [id, run] : runs_) {
        if (!run->live()) continue;
        none = false;
        // One that is just starting does not take it yet: it is asked again.
        (void)run->signal(0, milliseconds{0});
    }
    return none;
}

Result<void> Node::open_sync(const v1::OpenSync& command) {
    BERTH_TRY(check_name(command.channel(), "channel"));
    if (syncs_.contains(command.channel())) return {};
    if (cleaning_->bars(command.lease()))
        return conflict("lease_ended", "the lease has ended and left the machine");
    // Whose gateway was killed comes again before its silence is noticed, a minute later.
    if (!command.sync().empty() && command.sync() == sending_for_) syncs_.erase(sending_);
    if (syncs_.size() >= kMaxSyncs)
        return Error{
            Fault::kLimit,
            "too_many_syncs",
            "too many syncs at once on this machine; wait for one",
            {}};
    if (!command.fetch() && (syncs_.contains(sending_) || copies_.busy()))
        return conflict("sync_busy", "another sync is sending to this machine; wait for it");
    if (!command.run().empty()) BERTH_TRY(check_name(command.run(), "run"));
    if (bus_.connection() == nullptr) return unavailable("bus_away", "the bus is away");
    auto sync =
        std::make_shared<Sync>(context_, command.channel(), [this](const std::string& channel) {
            loop_.post([this, channel] { syncs_.erase(channel); });
        });
    BERTH_TRY(sync->start(
        *bus_.connection(),
        command.fetch() ? rsync_sender_arguments() : rsync_server_arguments(),
        command.run().empty() ? kInsideWorkspace : WorkCopies::folder(command.run())
    ));
    syncs_[command.channel()] = std::move(sync);
    if (!command.fetch()) {
        sending_ = command.channel();
        sending_for_ = command.sync();
    }
    return {};
}

}  // namespace berth::node
