// SPDX-License-Identifier: Apache-2.0
// INFO, compare, CREATE or UPDATE, compare again: the whole of what keeps a server equal to the
// files.
#include "topology/apply.hpp"

#include <optional>

namespace berth::topology {
namespace {

constexpr std::int64_t kNotFound = 404;

std::int64_t nanos(milliseconds duration) { return std::chrono::nanoseconds(duration).count(); }

/// What a server that left the field out means.
bool is_default(const Json& value) {
    if (const auto* flag = value.as_bool()) return !*flag;
    if (const auto* number = value.as_int()) return *number == 0;
    if (const auto* text = value.as_string()) return text->empty();
    if (const auto* items = value.as_array()) return items->empty();
    return value.is_null();
}

/// The first field of `wanted` that the echo does not hold, as "field: wanted X, got Y".
std::optional<std::string> first_difference(const Json& wanted, const Json* echo) {
    for (const auto& [field, value] : *wanted.as_object()) {
        const Json* got = echo != nullptr ? echo->find(field) : nullptr;
        if (got == nullptr ? is_default(value) : *got == value) continue;
        return field + ": wanted " + value.dump() + ", got " +
               (got == nullptr ? "nothing" : got->dump());
    }
    return std::nullopt;
}

/// The answer, or nothing when the server says 404, or its error.
Result<std::optional<Json>> call(
    const ApiRequest& request, const std::string& subject, const Json& body, const std::string& what
) {
    BERTH_ASSIGN(
        const std::string text, request(subject, body.is_null() ? std::string() : body.dump())
    );
    BERTH_ASSIGN(Json answer, Json::parse(text));
    const Json* error = answer.find("error");
    if (error == nullptr) return std::optional<Json>(std::move(answer));
    const std::int64_t code = error->int_or("code", 0);
    if (code == kNotFound) return std::optional<Json>{};
    const std::string words = what + ": " + error->string_or("description", "no description") +
                              " (" + subject + ", code " + std::to_string(code) + ", err_code " +
                              std::to_string(error->int_or("err_code", 0)) + ")";
    return code >= 500 ? unavailable("jetstream_api", words) : invalid("jetstream_api", words);
}

/// The three subjects and bodies of a stream or a durable, so that both are kept equal by one
/// function.
struct Item {
    std::string name;
    std::string info;
    std::string create;
    std::string update;
    Json wanted;  ///< the configuration
    Json body;    ///< what create and update are sent
};

Result<void> keep_equal(
    const Item& item, const ApiRequest& request, bool check_only, ApplyReport& report
) {
    BERTH_ASSIGN(const std::optional<Json> info, call(request, item.info, Json(), item.name));
    if (info) {
        const auto difference = first_difference(item.wanted, info->find("config"));
        if (!difference) {
            report.unchanged.push_back(item.name);
            return {};
        }
        if (check_only) return conflict("differs", item.name + " differs: " + *difference);
    } else if (check_only) {
        return conflict("differs", item.name + " does not exist");
    }
    const std::string& subject = info ? item.update : item.create;
    BERTH_ASSIGN(const std::optional<Json> answer, call(request, subject, item.body, item.name));
    if (!answer)
        return not_found(
            "jetstream_api", item.name + ": what it belongs to does not exist (" + subject + ")"
        );
    if (const auto difference = first_difference(item.wanted, answer->find("config"))) {
        return conflict(
            "config_ignored",
            item.name + ": the server did not take the configuration: " + *difference
        );
    }
    (info ? report.updated : report.created).push_back(item.name);
    return {};
}

}  // namespace

Json stream_config(const Stream& stream, const ApplyOptions& options) {
    const auto own = options.max_bytes.find(stream.name);
    Json out = Json::object();
    out.set("name", stream.name)
        .set("description", stream.why)
        .set("subjects", Json::strings(stream.subjects));
    out.set("retention", stream.work_queue ? "workqueue" : "limits")
        .set("storage", stream.memory ? "memory" : "file");
    out.set("discard", stream.discard_new ? "new" : "old")
        .set("discard_new_per_subject", stream.discard_new_per_subject);
    out.set("max_age", nanos(stream.max_age))
        .set("max_bytes", own != options.max_bytes.end() ? own->second : stream.max_bytes);
    out.set("max_msgs_per_subject", stream.max_msgs_per_subject)
        .set("max_msgs", kUnlimited)
        .set("max_msg_size", kUnlimited);
    out.set("max_consumers", kUnlimited).set("duplicate_window", nanos(stream.duplicate_window));
    out.set("deny_delete", stream.deny_delete).set("deny_purge", stream.deny_purge);
    return out.set("num_replicas", options.replicas);
}

Json consumer_config(const Consumer& consumer) {
    Json out = Json::object();
    out.set("durable_name", consumer.durable).set("filter_subject", consumer.filter);
    out.set("deliver_policy", "all").set("replay_policy", "instant").set("ack_policy", "explicit");
    out.set("ack_wait", nanos(consumer.ack_wait)).set("max_deliver", kUnlimited);
    return out.set("max_ack_pending", consumer.max_ack_pending);
}

Result<void> apply_consumer(
    const Consumer& consumer,
    const ApiRequest& request,
    const ApplyOptions& options,
    ApplyReport& report
) {
    const std::string dotted = consumer.stream + "." + consumer.durable;
    const std::string create = "$JS.API.CONSUMER.DURABLE.CREATE." + dotted;
    const Json wanted = consumer_config(consumer);
    const Item item{
        consumer.stream + "/" + consumer.durable,
        "$JS.API.CONSUMER.INFO." + dotted,
        create,
        create,
        wanted,
        Json::object().set("stream_name", consumer.stream).set("config", wanted)};
    return keep_equal(item, request, options.check_only, report);
}

Result<void> delete_consumer(const Consumer& consumer, const ApiRequest& request) {
    const std::string dotted = consumer.stream + "." + consumer.durable;
    BERTH_TRY(call(request, "$JS.API.CONSUMER.DELETE." + dotted, Json(), dotted));
    return {};
}

Result<std::int64_t> purge(
    std::string_view stream, std::string_view subject, const ApiRequest& request
) {
    const std::string name(stream);
    BERTH_ASSIGN(
        const std::optional<Json> answer,
        call(request, "$JS.API.STREAM.PURGE." + name, Json::object().set("filter", subject), name)
    );
    if (!answer) return not_found("jetstream_api", "there is no stream " + name);
    return answer->int_or("purged", 0);
}

Result<ApplyReport> apply_topology(
    const Topology& topology, const ApiRequest& request, const ApplyOptions& options
) {
    for (const auto& [name, bytes] : options.max_bytes) {
        if (topology.stream(name) == nullptr || bytes <= 0)
            return invalid(
                "bad_option", "max_bytes: " + name + " is no stream, or its size is not positive"
            );
    }
    ApplyReport report;
    for (const Stream& stream : topology.streams) {
        const Json wanted = stream_config(stream, options);
        BERTH_TRY(keep_equal(
            {stream.name,
             "$JS.API.STREAM.INFO." + stream.name,
             "$JS.API.STREAM.CREATE." + stream.name,
             "$JS.API.STREAM.UPDATE." + stream.name,
             wanted,
             wanted},
            request,
            options.check_only,
            report
        ));
    }
    for (const Consumer& consumer : topology.consumers)
        BERTH_TRY(apply_consumer(consumer, request, options, report));
    return report;
}

}  // namespace berth::topology
