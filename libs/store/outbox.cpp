// SPDX-License-Identifier: Apache-2.0
// Rows of messages: written beside the state they tell of, measured for the dashboards.
#include "store/outbox.hpp"

namespace berth::store {
namespace {

constexpr Statement kAdd{Outbox::kAddSql, "outbox.add"};
// ORDER BY gives the ids in the order of the span: that order is the entity's.
constexpr Statement kAddAll{
    "INSERT INTO outbox (message_id, entity, revision, subject, headers, payload) "
    "SELECT m, e, r, s, h, p FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], "
    "$5::bytea[], $6::bytea[]) "
    "WITH ORDINALITY AS u(m, e, r, s, h, p, n) ORDER BY n "
    "RETURNING id, CASE WHEN entity = '' THEN '{}'::bigint[] ELSE "
    "ARRAY(SELECT o.id FROM outbox o WHERE o.entity = outbox.entity AND o.entity <> '' AND o.id < "
    "outbox.id ORDER BY o.id LIMIT 32) END AS older",
    "outbox.add_all"};
constexpr Statement kDepth{
    "SELECT count(*) AS depth, coalesce((extract(epoch FROM clock_timestamp() - min(created_at)) * "
    "1000)::bigint, 0) AS oldest "
    "FROM outbox",
    "outbox.depth"};

}  // namespace

Result<void> Outbox::add(Transaction& tx, OutboxMessage& message) {
    BERTH_ASSIGN(
        const Rows rows,
        tx.exec(
            kAdd,
            {message.message_id,
             message.entity,
             message.revision,
             message.subject,
             Param::bytes(encode_headers(message.headers)),
             Param::bytes(message.payload)}
        )
    );
    message.id = rows[0].int64(0);
    message.older = rows[0].int64_array(1);
    return {};
}

Result<void> Outbox::add_all(Transaction& tx, std::span<OutboxMessage> messages) {
    if (messages.empty()) return {};
    if (messages.size() == 1) return add(tx, messages.front());
    std::vector<std::string> ids, entities, subjects, headers, payloads;
    std::vector<std::int64_t> revisions;
    for (const OutboxMessage& m : messages) {
        ids.push_back(m.message_id);
        entities.push_back(m.entity);
        revisions.push_back(m.revision);
        subjects.push_back(m.subject);
        headers.push_back(encode_headers(m.headers));
        payloads.push_back(m.payload);
    }
    BERTH_ASSIGN(
        const Rows rows,
        tx.exec(
            kAddAll,
            {Param::text_array(ids),
             Param::text_array(entities),
             Param::int64_array(revisions),
             Param::text_array(subjects),
             Param::bytes_array(headers),
             Param::bytes_array(payloads)}
        )
    );
    if (rows.size() != messages.size())
        return internal("sql", "outbox.add_all: fewer rows came back than went in");
    for (std::size_t i = 0; i < messages.size(); ++i) {
        messages[i].id = rows[i].int64(0);
        messages[i].older = rows[i].int64_array(1);
    }
    return {};
}

std::string Outbox::encode_headers(const std::vector<std::pair<std::string, std::string>>& headers
) {
    std::string out;
    for (const auto& [name, value] : headers) {
        out.append(name).push_back('\0');
        out.append(value).push_back('\0');
    }
    return out;
}

std::vector<std::pair<std::string, std::string>> Outbox::decode_headers(std::string_view bytes) {
    std::vector<std::pair<std::string, std::string>> out;
    while (!bytes.empty()) {
        const std::size_t name_end = bytes.find('\0');
        const std::size_t value_end =
            name_end == std::string_view::npos ? name_end : bytes.find('\0', name_end + 1);
        if (value_end == std::string_view::npos) break;
        out.emplace_back(
            bytes.substr(0, name_end), bytes.substr(name_end + 1, value_end - name_end - 1)
        );
        bytes.remove_prefix(value_end + 1);
    }
    return out;
}

Result<Outbox::Depth> Outbox::depth(Pool& pool) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kDepth, {}, OnLoss::kRetry));
    return Depth{rows[0].int64(0), milliseconds{rows[0].int64(1)}};
}

}  // namespace berth::store
