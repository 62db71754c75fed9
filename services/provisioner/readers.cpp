// SPDX-License-Identifier: Apache-2.0
// The durable is made in the handler, before the row commits: it is named by the command that first
// made it, so that one that is carried out again finds it.
#include "provisioner/readers.hpp"

#include "berth/common/v1/common.pb.h"
#include "berth/prov/v1/prov.pb.h"
#include "core/id.hpp"
#include "identity/sha256.hpp"
#include "provisioner/settings.hpp"
#include "service/proto_time.hpp"
#include "service/request.hpp"
#include "topology/rights.hpp"

namespace berth::prov {
namespace {

using service::reply_with;
using store::OnLoss;
using store::Statement;

constexpr int kStaleBatch = 10;

constexpr Statement kLockOrg{
    "SELECT pg_advisory_xact_lock(hashtext('readers/' || $1))", "lock_org"};
constexpr Statement kCount{
    "SELECT count(*) FROM readers WHERE org = $1 AND name <> $2", "count_readers"};
constexpr Statement kPut{
    "INSERT INTO readers (id, org, name, created_by, created_at, expires_at) VALUES ($1, $2, $3, "
    "$4, $5, $6) ON CONFLICT (id) DO UPDATE SET expires_at = greatest(readers.expires_at, "
    "excluded.expires_at) RETURNING id, org, name, created_by, created_at, expires_at",
    "put_reader"};
constexpr Statement kFind{"SELECT id FROM readers WHERE org = $1 AND name = $2", "find_reader"};
constexpr Statement kDrop{
    "DELETE FROM readers WHERE org = $1 AND name = $2 RETURNING id", "drop_reader"};
constexpr Statement kStale{
    "DELETE FROM readers WHERE id IN (SELECT id FROM readers WHERE expires_at < $1 ORDER BY "
    "expires_at LIMIT $2::bigint FOR UPDATE SKIP LOCKED) RETURNING id, org",
    "stale_readers"};
constexpr Statement kList{
    "SELECT id, org, name, created_by, created_at, expires_at FROM readers WHERE org = $1 AND name "
    "> $2 ORDER BY name LIMIT $3::bigint",
    "list_readers"};

v1::Reader to_proto(const store::Row& row, const std::string& nats_url) {
    v1::Reader out;
    out.set_id(std::string(row.text("id")));
    out.set_org(std::string(row.text("org")));
    out.set_name(std::string(row.text("name")));
    out.set_durable("reader-" + out.id());
    out.set_inbox_prefix(topology::inbox_prefix_of({out.id(), out.org()}));
    out.set_nats_url(nats_url);
    out.set_created_by(std::string(row.text("created_by")));
    *out.mutable_created_at() = service::to_timestamp(row.time("created_at"));
    *out.mutable_expires_at() = service::to_timestamp(row.time("expires_at"));
    return out;
}

Result<void> check_admin(const common::v1::Actor& actor) {
    if (is_subject_token(actor.org()) && service::has_role(actor, "admin")) return {};
    return forbidden("role_missing", "readers are an admin's to make and to drop");
}

Result<void> check_name(const std::string& name) {
    if (is_subject_token(name)) return {};
    return invalid("bad_name", "'name' must be 1 to 64 characters of a-z 0-9 _ -", "name");
}

/// One that is dropped and made again is another one: the credentials of the first are good for
/// nothing of the second.
std::string new_reader_id(
    const std::string& org, const std::string& name, const std::string& command
) {
    return "rd_" +
           ulid_from_bytes(identity::sha256("berth reader/" + org + "/" + name + "/" + command));
}

}  // namespace

void ReaderHandlers::bind(service::Handlers& handlers) {
    handlers.command("reader", this, &ReaderHandlers::make);
    handlers.command("drop_reader", this, &ReaderHandlers::drop);
    handlers.query("readers", this, &ReaderHandlers::list);
}

ReaderHandlers::Outcome ReaderHandlers::make(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const auto request, service::decode<v1::MakeReader>(payload));
    const auto& actor = request.actor();
    BERTH_TRY(check_admin(actor));
    BERTH_TRY(check_name(request.name()));
    const milliseconds life = service::to_milliseconds(request.life());
    if (life < kShortestReader || life > kLongestReader)
        return invalid("bad_life", "a credential lives between a minute and 30 days", "life");
    BERTH_TRY(tx.exec(kLockOrg, {actor.org()}));
    BERTH_ASSIGN(const auto others, tx.exec(kCount, {actor.org(), request.name()}));
    if (others[0].int64(0) >= kMaxReaders)
        return limit("too_many_readers", "this org has as many readers as it may; drop one first");
    BERTH_TRY(drop_stale(tx, context.now));
    BERTH_ASSIGN(const auto known, tx.exec(kFind, {actor.org(), request.name()}));
    const topology::EventReader reader{
        known.empty() ? new_reader_id(actor.org(), request.name(), context.command_id)
                      : std::string(known[0].text(0)),
        actor.org()};
    v1::ReaderCredential reply;
    BERTH_ASSIGN(
        *reply.mutable_jwt(),
        enrolment_.mint_reader(reader, request.user_public_key(), context.now, life)
    );
    BERTH_TRY(enrolment_.open_reader(reader));
    BERTH_ASSIGN(
        const auto row,
        tx.exec(
            kPut,
            {reader.reader,
             reader.org,
             request.name(),
             actor.user(),
             context.now,
             context.now + life}
        )
    );
    *reply.mutable_reader() = to_proto(row[0], nats_url_);
    // Of this credential, where an older one lives longer.
    *reply.mutable_reader()->mutable_expires_at() = service::to_timestamp(context.now + life);
    return reply_with(reply);
}

ReaderHandlers::Outcome ReaderHandlers::drop(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const auto request, service::decode<v1::DropReader>(payload));
    BERTH_TRY(check_admin(request.actor()));
    BERTH_TRY(check_name(request.name()));
    const std::string& org = request.actor().org();
    BERTH_ASSIGN(const auto gone, tx.exec(kDrop, {org, request.name()}));
    if (gone.empty())
        return not_found("reader_not_found", "there is no reader '" + request.name() + "'");
    BERTH_TRY(enrolment_.close_reader({std::string(gone[0].text(0)), org}));
    BERTH_TRY(drop_stale(tx, context.now));
    return reply_with(common::v1::Empty{});
}

Result<void> ReaderHandlers::drop_stale(store::Transaction& tx, WallTime now) {
    BERTH_ASSIGN(const auto stale, tx.exec(kStale, {now - kEventAge, kStaleBatch}));
    for (const auto row : stale) {
        BERTH_TRY(
            enrolment_.close_reader({std::string(row.text("id")), std::string(row.text("org"))})
        );
    }
    return {};
}

ReaderHandlers::Outcome ReaderHandlers::list(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const auto request, service::decode<v1::ListReaders>(payload));
    BERTH_TRY(check_admin(request.actor()));
    BERTH_ASSIGN(const int most, service::page_limit(request.page()));
    BERTH_ASSIGN(
        const auto rows,
        pool_.exec_autocommit(
            kList, {request.actor().org(), request.page().cursor(), most + 1}, OnLoss::kRetry
        )
    );
    v1::ReadersReply reply;
    for (const auto row : rows) {
        if (reply.readers_size() == most) {
            reply.set_next_cursor(reply.readers(most - 1).name());
            break;
        }
        *reply.add_readers() = to_proto(row, nats_url_);
    }
    return reply_with(reply);
}

}  // namespace berth::prov
