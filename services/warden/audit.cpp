// SPDX-License-Identifier: Apache-2.0
// Each record names the hash of the one before it.
#include "warden/audit.hpp"

#include "core/text.hpp"
#include "identity/token.hpp"
#include "service/proto_time.hpp"

namespace berth::warden {
namespace {

class Writer {
public:
    void text(std::string_view value) {
        out_ += std::to_string(value.size());
        out_ += ':';
        out_ += value;
        out_ += '\n';
    }
    void number(std::uint64_t value) { text(std::to_string(value)); }
    std::string take() { return std::move(out_); }

private:
    std::string out_ = "berth-audit-1\n";
};

}  // namespace

std::string canonical(const v1::AuditRecord& record) {
    Writer out;
    out.text(record.org());
    out.number(record.sequence());
    out.text(record.previous());
    out.text(std::to_string(to_unix_micros(service::to_wall_time(record.at()))));
    out.text(record.fact());
    out.text(record.user());
    out.text(record.surface());
    const v1::Origin& origin = record.origin();
    for (const std::string* each :
         {&origin.org(),
          &origin.user(),
          &origin.lease(),
          &origin.machine(),
          &origin.run(),
          &origin.profile(),
          &origin.agent()})
        out.text(*each);
    out.number(static_cast<std::uint64_t>(origin.level()));
    for (const std::string* each :
         {&record.rule(),
          &record.action(),
          &record.reason(),
          &record.digest(),
          &record.command(),
          &record.executable()})
        out.text(*each);
    out.text(record.has_exit_code() ? std::to_string(record.exit_code()) : "none");
    for (const std::string* each : {&record.output_sha256(), &record.approval(), &record.subject()})
        out.text(*each);
    out.number(record.pid());
    return out.take();
}

std::string hash_of(const v1::AuditRecord& record) {
    return hex(identity::sha256(canonical(record)));
}

void chain(ChainHead& head, v1::AuditRecord& record) {
    record.set_sequence(head.sequence + 1);
    record.set_previous(head.hash);
    record.set_hash(hash_of(record));
    head = {record.sequence(), record.hash()};
}

void ChainCheck::fail(std::uint64_t sequence, std::string reason) {
    if (bad_) return;
    bad_ = true;
    verdict_.set_first_bad(sequence);
    verdict_.set_reason(std::move(reason));
}

bool ChainCheck::take(const v1::AuditRecord& record) {
    if (bad_) return false;
    const std::uint64_t expected = head_.sequence + 1;
    if (record.sequence() != expected) {
        fail(
            expected,
            record.sequence() > expected
                ? "record " + std::to_string(expected) + " is missing"
                : "record " + std::to_string(record.sequence()) + " is out of order"
        );
    } else if (record.previous() != head_.hash) {
        fail(expected, "it does not follow from the record before it");
    } else if (record.hash() != hash_of(record)) {
        fail(expected, "its content is not what was recorded");
    }
    if (bad_) return false;
    head_ = {record.sequence(), record.hash()};
    return true;
}

v1::AuditVerdict ChainCheck::pause() {
    verdict_.set_whole(!bad_);
    verdict_.set_more(!bad_);
    verdict_.set_records(head_.sequence);
    verdict_.set_head(head_.hash);
    return verdict_;
}

v1::AuditVerdict ChainCheck::finish(const ChainHead& stored) {
    if (!bad_ && head_ != stored)
        fail(
            head_.sequence + 1,
            stored.sequence > head_.sequence ? "the newest records are missing"
                                             : "the chain does not end where it was left"
        );
    verdict_.set_whole(!bad_);
    verdict_.set_records(head_.sequence);
    verdict_.set_head(head_.hash);
    return verdict_;
}

}  // namespace berth::warden
