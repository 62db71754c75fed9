// SPDX-License-Identifier: Apache-2.0
// /v1/audit: pages of the chain, its verdict, and all of it as JSON lines.
#include <charconv>

#include "berth/warden/v1/warden.pb.h"
#include "core/text.hpp"
#include "gateway/api.hpp"
#include "service/proto_time.hpp"

namespace berth::gateway {
namespace {

using warden::v1::AuditReply;

constexpr const char* kSubject = "berth.qry.warden.audit";
constexpr unsigned kExportPage = 100;
// An export's reader that takes nothing is looked at in these turns; nothing is asked meanwhile.
constexpr milliseconds kExportTurn{50};
constexpr std::size_t kExportBuffer = 256U << 10U;

Result<std::uint64_t> read_sequence(const net::Query& query) {
    const auto text = query.get("from_sequence");
    if (!text) return std::uint64_t{0};
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (error != std::errc() || end != text->data() + text->size() || value == 0)
        return invalid(
            "bad_sequence", "'from_sequence' must be the number of a record", "from_sequence"
        );
    return value;
}

Result<void> read_filter(const net::Query& query, warden::v1::QueryAudit& out) {
    for (const char* name : {"user", "run", "fact"}) {
        if (!is_utf8(query.get_or(name, "")))
            return invalid("bad_query", "the query is not valid UTF-8", name);
    }
    out.set_user(query.get_or("user", ""));
    out.set_run(query.get_or("run", ""));
    out.set_fact(query.get_or("fact", ""));
    out.set_oldest_first(query.flag("oldest_first"));
    BERTH_ASSIGN(const std::uint64_t from, read_sequence(query));
    out.set_from_sequence(from);
    for (const char* name : {"since", "until"}) {
        const auto text = query.get(name);
        if (!text) continue;
        const auto time = parse_rfc3339(*text);
        if (!time)
            return invalid(
                "bad_time",
                "'" + std::string(name) + "' must be a time such as 2026-01-31T09:00:00Z",
                name
            );
        *(std::string_view(name) == "since" ? out.mutable_since() : out.mutable_until()) =
            service::to_timestamp(*time);
    }
    return {};
}

/// Asks page after page and writes them on, no faster than they are read.
class Export : public std::enable_shared_from_this<Export> {
public:
    Export(Api& api, CallPtr call, warden::v1::QueryAudit query, OpenStreams::SlotPtr slot)
        : api_(api), call_(std::move(call)), query_(std::move(query)), slot_(std::move(slot)) {}

    void next() {
        ask_raw(api_, call_, kSubject, query_, {}, [self = shared_from_this()](auto bytes) {
            self->take(bytes);
        });
    }

private:
    void take(const Result<std::string>& bytes) {
        const auto reply = read_reply<AuditReply>(bytes);
        if (!reply) {
            // Cut off, not ended: the reader can tell.
            if (begun_) return stream_.abort();
            return call_->fail(reply.error());
        }
        if (!begun_) {
            begun_ = true;
            stream_ = call_->stream("application/x-ndjson", {{"Cache-Control", "no-store"}});
            slot_->on_revoked([stream = stream_](const Error&) mutable { stream.abort(); });
        }
        for (const auto& record : reply->records()) lines_ += to_json(record) + "\n";
        query_.mutable_page()->set_cursor(reply->next_cursor());
        write();
    }

    void write() {
        if (stream_.closed()) return;
        if (!lines_.empty() && !stream_.write(lines_)) return again();
        lines_.clear();
        if (query_.page().cursor().empty()) return stream_.close();
        if (stream_.buffered() > kExportBuffer) return again();
        next();
    }

    void again() {
        api_.workers.after(kExportTurn, [self = shared_from_this()] { self->write(); });
    }

    Api& api_;
    const CallPtr call_;
    warden::v1::QueryAudit query_;
    const OpenStreams::SlotPtr slot_;
    bool begun_ = false;
    std::string lines_;
    net::Stream stream_;
};

/// Asks until the whole chain is verified, or something is found.
void verify_on(Api& api, const CallPtr& call, const warden::v1::VerifyAudit& query) {
    ask<warden::v1::AuditVerdict>(
        api,
        call,
        "berth.qry.warden.verify",
        query,
        {},
        [&api, call, query](const warden::v1::AuditVerdict& verdict) {
            if (!verdict.more()) return call->json(200, verdict);
            warden::v1::VerifyAudit next = query;
            next.set_after_sequence(verdict.records());
            next.set_previous(verdict.head());
            next.set_stream_position(verdict.stream_position());
            verify_on(api, call, next);
        }
    );
}

}  // namespace

void query_audit(Api& api, const CallPtr& call) {
    warden::v1::QueryAudit query;
    fill_actor(call->principal, *query.mutable_actor());
    if (auto page = read_page(call->request.query, *query.mutable_page()); !page)
        return call->fail(page.error());
    if (auto filter = read_filter(call->request.query, query); !filter)
        return call->fail(filter.error());
    ask<AuditReply>(api, call, kSubject, query, {}, [call](const AuditReply& reply) {
        call->json(200, reply);
    });
}

void verify_audit(Api& api, const CallPtr& call) {
    warden::v1::VerifyAudit query;
    fill_actor(call->principal, *query.mutable_actor());
    verify_on(api, call, query);
}

void export_audit(Api& api, const CallPtr& call) {
    warden::v1::QueryAudit query;
    fill_actor(call->principal, *query.mutable_actor());
    query.mutable_page()->set_limit(kExportPage);
    query.set_oldest_first(true);
    const auto from = read_sequence(call->request.query);
    if (!from) return call->fail(from.error());
    query.set_from_sequence(*from);
    auto slot = api.streams.take(call->principal);
    if (!slot) return call->fail(slot.error());
    std::make_shared<Export>(api, call, std::move(query), std::move(*slot))->next();
}

}  // namespace berth::gateway
