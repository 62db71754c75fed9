// SPDX-License-Identifier: Apache-2.0
// /v1/event_readers: credentials with which others' programs read the org's events from the bus.
#include "berth/gateway/v1/gateway.pb.h"
#include "berth/prov/v1/prov.pb.h"
#include "core/id.hpp"
#include "gateway/api.hpp"
#include "identity/creds.hpp"
#include "identity/nkeys.hpp"
#include "service/proto_time.hpp"

namespace berth::gateway {
namespace {

constexpr milliseconds kDefaultLife = std::chrono::hours{24};

v1::EventReader to_json_shape(const prov::v1::Reader& reader) {
    v1::EventReader out;
    out.set_id(reader.id());
    out.set_name(reader.name());
    out.set_stream("EVT");
    out.set_durable(reader.durable());
    out.set_subject("berth.evt." + reader.org() + ".>");
    out.set_inbox_prefix(reader.inbox_prefix());
    out.set_nats_url(reader.nats_url());
    out.set_created_by(reader.created_by());
    *out.mutable_created_at() = reader.created_at();
    *out.mutable_expires_at() = reader.expires_at();
    return out;
}

}  // namespace

void create_event_reader(Api& api, const CallPtr& call) {
    v1::ReaderBody body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    milliseconds life = kDefaultLife;
    if (!body.life().empty()) {
        const auto wanted = read_duration(body.life(), "life");
        if (!wanted) return call->fail(wanted.error());
        life = *wanted;
    }
    // Made here, so that the private half never travels on the bus; kept nowhere.
    const auto key = identity::KeyPair::create(identity::KeyKind::kUser);
    prov::v1::MakeReader command;
    fill_actor(call->principal, *command.mutable_actor());
    command.set_name(body.name());
    command.set_user_public_key(key.public_key());
    *command.mutable_life() = service::to_duration(life);
    ask<prov::v1::ReaderCredential>(
        api,
        call,
        "berth.cmd.prov.reader",
        command,
        {},
        [call, key](const prov::v1::ReaderCredential& credential) {
            v1::EventReader out = to_json_shape(credential.reader());
            out.set_creds(identity::format_creds({credential.jwt(), key.seed()}).reveal());
            call->json(201, out, {{"Cache-Control", "no-store"}});
        }
    );
}

void list_event_readers(Api& api, const CallPtr& call) {
    prov::v1::ListReaders query;
    fill_actor(call->principal, *query.mutable_actor());
    if (auto read = read_page(call->request.query, *query.mutable_page()); !read)
        return call->fail(read.error());
    ask<prov::v1::ReadersReply>(
        api,
        call,
        "berth.qry.prov.readers",
        query,
        {},
        [call](const prov::v1::ReadersReply& reply) {
            v1::EventReaders out;
            for (const auto& reader : reply.readers()) *out.add_readers() = to_json_shape(reader);
            out.set_next_cursor(reply.next_cursor());
            call->json(200, out);
        }
    );
}

void drop_event_reader(Api& api, const CallPtr& call) {
    if (!plausible_id(call->param("name")))
        return call->fail(not_found("reader_not_found", "there is no such reader"));
    prov::v1::DropReader command;
    fill_actor(call->principal, *command.mutable_actor());
    command.set_name(call->param("name"));
    ask<common::v1::Empty>(
        api,
        call,
        "berth.cmd.prov.drop_reader",
        command,
        {},
        [call](const common::v1::Empty&) { call->respond({204}); }
    );
}

}  // namespace berth::gateway
