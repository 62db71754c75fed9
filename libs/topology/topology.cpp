// SPDX-License-Identifier: Apache-2.0
// From the three YAML files to Topology, with every check that a person's slip deserves before a
// server sees it.
#include "topology/topology.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "config/config.hpp"
#include "core/id.hpp"
#include "topology/builtin.hpp"
#include "topology/subjects.hpp"

namespace berth::topology {
namespace {

using config::Document;
using config::Reader;

constexpr std::int64_t kMaxPending =
    65536;  // more unacknowledged deliveries than any service's workers hold
const Names kExample{
    "user", "m_0", "org", "rd_0"};  // stands in for real names where a pattern is checked

bool is_stream_name(std::string_view name) {
    return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    });
}

/// One of two words; true for the first.
bool read_choice(
    Reader& reader, std::string_view key, std::string_view first, std::string_view second
) {
    const std::string word = reader.require_string(key);
    if (!word.empty() && word != first && word != second) {
        reader.reject(key, "must be " + std::string(first) + " or " + std::string(second));
    }
    return word == first;
}

std::int64_t read_size(Reader& reader, std::string_view key) {
    if (!reader.has(key)) return kUnlimited;
    const std::uint64_t bytes = reader.get_bytes(key, 0);
    if (bytes == 0 ||
        bytes > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        reader.reject(key, "must be a positive size");
        return kUnlimited;
    }
    return static_cast<std::int64_t>(bytes);
}

Stream read_stream(std::string name, Reader& reader) {
    Stream out;
    if (!is_stream_name(name))
        reader.reject("why", "stream names are upper case letters, digits and _");
    out.name = std::move(name);
    out.why = reader.require_string("why");
    out.subjects = reader.get_list("subjects");
    if (out.subjects.empty()) reader.reject("subjects", "a stream stores at least one subject");
    for (const auto& subject : out.subjects) {
        if (!is_pattern(subject) || !covers("berth.>", subject))
            reader.reject("subjects", "'" + subject + "' is no pattern below berth.");
    }
    out.work_queue = read_choice(reader, "retention", "work_queue", "limits");
    out.memory = read_choice(reader, "storage", "memory", "file");
    out.discard_new = read_choice(reader, "discard", "new", "old");
    out.max_age = reader.get_duration("max_age", milliseconds{0});
    out.max_bytes = read_size(reader, "max_bytes");
    if (reader.has("max_msgs_per_subject")) {
        out.max_msgs_per_subject =
            reader.get_int("max_msgs_per_subject", 1, 1, std::numeric_limits<std::int64_t>::max());
    }
    out.discard_new_per_subject = reader.get_bool("discard_new_per_subject", false);
    if (out.discard_new_per_subject &&
        (!out.discard_new || out.max_msgs_per_subject == kUnlimited)) {
        reader.reject("discard_new_per_subject", "needs discard: new and max_msgs_per_subject");
    }
    out.deny_delete = reader.get_bool("deny_delete", false);
    out.deny_purge = reader.get_bool("deny_purge", false);
    out.duplicate_window = reader.get_duration("duplicate_window", std::chrono::minutes{2});
    if (out.max_age.count() > 0 && out.duplicate_window > out.max_age)
        reader.reject("duplicate_window", "is longer than max_age");
    return out;
}

bool stream_covers(const Stream& stream, std::string_view filter) {
    return std::any_of(stream.subjects.begin(), stream.subjects.end(), [&](const auto& subject) {
        return covers(subject, filter);
    });
}

Consumer read_consumer(
    const Topology& topology, std::string_view name, bool is_template, Reader& reader
) {
    Consumer out;
    const auto slash = name.find('/');
    out.stream = name.substr(0, slash);
    out.durable = slash == std::string_view::npos ? "" : name.substr(slash + 1);
    out.filter = reader.require_string("filter");
    out.ack_wait = reader.get_duration("ack_wait", milliseconds{0});
    out.max_ack_pending = reader.get_int("max_ack_pending", 0, 1, kMaxPending);
    if (out.ack_wait.count() <= 0) reader.reject("ack_wait", "is needed");
    if (out.max_ack_pending == 0) reader.reject("max_ack_pending", "is needed");
    const Names names = is_template ? kExample : Names{};
    const auto durable = fill_in(out.durable, names);
    const auto filter = fill_in(out.filter, names);
    if (!durable || !is_subject_token(*durable)) {
        reader.reject("filter", "the name '" + std::string(name) + "' is not <STREAM>/<durable>");
        return out;
    }
    const Stream* stream = topology.stream(out.stream);
    if (stream == nullptr) {
        reader.reject("filter", "there is no stream " + out.stream);
    } else if (!filter || !is_pattern(*filter) || !stream_covers(*stream, *filter)) {
        reader.reject("filter", "is no pattern inside the subjects of " + out.stream);
    }
    return out;
}

void check_subjects(
    Reader& reader,
    std::string_view key,
    const std::vector<std::string>& subjects,
    const Names& names
) {
    for (const auto& subject : subjects) {
        const auto filled = fill_in(subject, names);
        if (!filled) {
            reader.reject(key, "'" + subject + "': " + filled.error().message);
        } else if (!is_pattern(*filled) || !(covers("berth.>", *filled) || covers("_INBOX.*.>", *filled))) {
            reader.reject(key, "'" + subject + "' is no pattern below berth. or _INBOX.<user>.");
        }
    }
}

std::vector<std::string> read_streams(
    Reader& reader, std::string_view key, const Topology& topology
) {
    auto names = reader.get_list(key);
    for (const auto& name : names) {
        if (topology.stream(name) == nullptr) reader.reject(key, "there is no stream " + name);
    }
    return names;
}

User read_user(const Topology& topology, std::string name, bool is_template, Reader& reader) {
    User out;
    Names names;
    names.user = name;
    if (is_template) names = {name, kExample.machine, kExample.org, kExample.reader};
    if (!is_subject_token(name)) reader.reject("publish", "user names are [a-z0-9_-]{1,64}");
    out.name = std::move(name);
    out.publish = reader.get_list("publish");
    out.subscribe = reader.get_list("subscribe");
    check_subjects(reader, "publish", out.publish, names);
    check_subjects(reader, "subscribe", out.subscribe, names);
    out.consumes = reader.get_list("consumes");
    const auto& known = is_template ? topology.consumer_templates : topology.consumers;
    for (auto& wanted : out.consumes) {
        // Users that are alike may share one list; a template's names are those of the templates.
        if (auto own = fill_in(wanted, names); own && !is_template) wanted = std::move(*own);
        const bool exists = std::any_of(known.begin(), known.end(), [&](const Consumer& c) {
            return c.stream + "/" + c.durable == wanted;
        });
        if (!exists) reader.reject("consumes", "there is no consumer " + wanted);
    }
    out.reads = read_streams(reader, "reads", topology);
    out.infos = read_streams(reader, "infos", topology);
    out.purges = read_streams(reader, "purges", topology);
    out.manages = read_streams(reader, "manages", topology);
    out.keeps = read_streams(reader, "keeps", topology);
    if (is_template) {
        out.lifetime = reader.get_duration("lifetime", milliseconds{0});
        if (out.lifetime.count() <= 0)
            reader.reject("lifetime", "is needed: a machine's user must expire");
    } else {
        out.admin = reader.get_bool("admin", false);
    }
    return out;
}

Result<void> read_streams_file(const Document& document, Topology& out) {
    Reader root(document.root());
    for (auto& [name, reader] : root.get_sections("streams")) {
        Stream stream = read_stream(name, reader);
        for (const Stream& other : out.streams) {
            for (const auto& subject : stream.subjects) {
                if (stream_covers(other, subject))
                    reader.reject("subjects", "'" + subject + "' is in " + other.name + " already");
            }
        }
        out.streams.push_back(std::move(stream));
    }
    return root.finish();
}

Result<void> read_consumers_file(const Document& document, Topology& out) {
    Reader root(document.root());
    for (auto& [name, reader] : root.get_sections("consumers"))
        out.consumers.push_back(read_consumer(out, name, false, reader));
    for (auto& [name, reader] : root.get_sections("templates"))
        out.consumer_templates.push_back(read_consumer(out, name, true, reader));
    return root.finish();
}

Result<void> read_users_file(const Document& document, Topology& out) {
    Reader root(document.root());
    Reader everyone = root.get_section("everyone");
    const auto publish = everyone.get_list("publish");
    const auto subscribe = everyone.get_list("subscribe");
    check_subjects(everyone, "publish", publish, {"user", {}, {}});
    check_subjects(everyone, "subscribe", subscribe, {"user", {}, {}});
    for (auto& [name, reader] : root.get_sections("users")) {
        User user = read_user(out, name, false, reader);
        if (!reader.get_bool("bare", false))
            user.publish.insert(user.publish.end(), publish.begin(), publish.end());
        user.subscribe.insert(user.subscribe.end(), subscribe.begin(), subscribe.end());
        out.users.push_back(std::move(user));
    }
    for (auto& [name, reader] : root.get_sections("templates"))
        out.user_templates.push_back(read_user(out, name, true, reader));
    return root.finish();
}

Result<Topology> read_documents(
    const Document& streams, const Document& consumers, const Document& users
) {
    Topology out;
    BERTH_TRY(read_streams_file(streams, out));
    BERTH_TRY(read_consumers_file(consumers, out));
    BERTH_TRY(read_users_file(users, out));
    return out;
}

template <typename T>
const T* find_named(const std::vector<T>& list, std::string_view name) {
    const auto found =
        std::find_if(list.begin(), list.end(), [&](const T& item) { return item.name == name; });
    return found == list.end() ? nullptr : &*found;
}

}  // namespace

const Stream* Topology::stream(std::string_view name) const { return find_named(streams, name); }
const User* Topology::user(std::string_view name) const { return find_named(users, name); }
const User* Topology::user_template(std::string_view name) const {
    return find_named(user_templates, name);
}

Result<Topology> load(const std::filesystem::path& folder) {
    BERTH_ASSIGN(const Document streams, Document::load(folder / "streams.yaml"));
    BERTH_ASSIGN(const Document consumers, Document::load(folder / "consumers.yaml"));
    BERTH_ASSIGN(const Document users, Document::load(folder / "users.yaml"));
    return read_documents(streams, consumers, users);
}

Result<Topology> parse(
    std::string_view streams, std::string_view consumers, std::string_view users
) {
    BERTH_ASSIGN(const Document streams_document, Document::parse(streams, "streams.yaml"));
    BERTH_ASSIGN(const Document consumers_document, Document::parse(consumers, "consumers.yaml"));
    BERTH_ASSIGN(const Document users_document, Document::parse(users, "users.yaml"));
    return read_documents(streams_document, consumers_document, users_document);
}

const Topology& builtin() {
    static const Topology topology = [] {
        auto parsed = parse(detail::kStreamsYaml, detail::kConsumersYaml, detail::kUsersYaml);
        if (!parsed) {  // a bug of this build, which topology_test finds
            std::fprintf(
                stderr, "the built-in topology is wrong: %s\n", parsed.error().describe().c_str()
            );
            std::abort();
        }
        return *std::move(parsed);
    }();
    return topology;
}

}  // namespace berth::topology
