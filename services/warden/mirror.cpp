// SPDX-License-Identifier: Apache-2.0
// Reads the stream in its own order, which is nearly the chain's: replicas publish side by side.
#include "warden/mirror.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "berth/warden/v1/warden.pb.h"
#include "warden/settings.hpp"

namespace berth::warden {
namespace {

/// What the reader's thread has found so far.
class Comparison {
public:
    Comparison(const std::vector<Link>& links, std::uint64_t from, bool last)
        : links_(links), last_(last), seen_(links.size()), left_(links.size()) {
        found_.next = from;
    }

    /// False: enough.
    bool take(const bus::ReadMessage& message) {
        const std::lock_guard lock(mutex_);
        progress_ = true;
        v1::AuditRecord record;
        if (record.ParseFromString(message.message.payload)) take_record(record, message.sequence);
        done_ = found_.first_bad != 0 || message.pending == 0 || (left_ == 0 && !last_);
        if (done_ && !beyond_) found_.next = message.sequence + 1;
        changed_.notify_all();
        return !done_;
    }

    /// Until the reader is at its end. A stream that says nothing has nothing of this org.
    bool wait() {
        std::unique_lock lock(mutex_);
        while (!done_) {
            progress_ = false;
            if (changed_.wait_for(lock, kMirrorQuiet, [this] { return progress_ || done_; }))
                continue;
            return found_.furthest == 0 && left_ == links_.size();
        }
        return true;
    }

    Reflection finish(WallTime now) {
        const std::lock_guard lock(mutex_);
        const std::int64_t late = to_unix_micros(now - kMirrorLag);
        for (std::size_t i = 0; i < links_.size() && found_.first_bad == 0; ++i) {
            if (!seen_[i] && links_[i].at_us < late)
                bad(links_[i].sequence, "it is in the table, and stream AUDIT never had it");
        }
        return found_;
    }

private:
    void take_record(const v1::AuditRecord& record, std::uint64_t position) {
        found_.furthest = std::max(found_.furthest, record.sequence());
        const std::uint64_t first = links_.empty() ? 0 : links_.front().sequence;
        if (links_.empty() || record.sequence() > links_.back().sequence) {
            // The next part's; that one begins to read here.
            if (!std::exchange(beyond_, true)) found_.next = position;
            return;
        }
        if (record.sequence() < first) return;
        const std::size_t at = record.sequence() - first;
        if (record.hash() != links_[at].hash)
            return bad(record.sequence(), "it is not the record that stream AUDIT has");
        if (!seen_[at]) --left_;
        seen_[at] = true;
    }
    void bad(std::uint64_t sequence, const char* reason) {
        found_.first_bad = sequence;
        found_.reason = reason;
    }

    const std::vector<Link>& links_;
    const bool last_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<bool> seen_;
    std::size_t left_;
    bool beyond_ = false;
    bool progress_ = false;
    bool done_ = false;
    Reflection found_;
};

}  // namespace

Result<Reflection> Mirror::compare(
    const std::string& org,
    const std::vector<Link>& links,
    std::uint64_t from,
    bool last,
    WallTime now
) {
    bus::ReaderSettings settings;
    settings.stream = "AUDIT";
    settings.filter = "berth.audit." + org + ".>";
    settings.start_sequence = std::max<std::uint64_t>(from, 1);
    settings.batch = kVerifyPage;
    Comparison comparison(links, settings.start_sequence, last);
    BERTH_ASSIGN(
        const auto reader,
        bus_.read(
            settings,
            [&comparison](const bus::ReadMessage& message) { return comparison.take(message); }
        )
    );
    const bool whole = comparison.wait();
    reader->stop();
    if (!whole) return unavailable("slow_stream", "stream AUDIT does not answer; try again");
    return comparison.finish(now);
}

}  // namespace berth::warden
