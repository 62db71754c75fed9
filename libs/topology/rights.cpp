// SPDX-License-Identifier: Apache-2.0
// Enumerates the JetStream API subjects behind each key of users.yaml; nothing is granted by
// wildcard but names.
#include "topology/rights.hpp"

#include <algorithm>

#include "core/id.hpp"
#include "topology/subjects.hpp"

namespace berth::topology {
namespace {

using identity::Permissions;

class Grants {
public:
    explicit Grants(Names names) : names_(std::move(names)) {}

    Result<void> publish(std::string_view subject) { return add(may_.pub_allow, subject); }
    Result<void> subscribe(std::string_view subject) { return add(may_.sub_allow, subject); }
    /// $JS.API.<call>
    Result<void> api(const std::string& call) { return publish("$JS.API." + call); }

    Result<void> add_user(const Topology& topology, const User& user) {
        for (const auto& subject : user.publish) BERTH_TRY(publish(subject));
        for (const auto& subject : user.subscribe) BERTH_TRY(subscribe(subject));
        for (const auto& name : user.consumes) BERTH_TRY(consume(name));
        for (const auto& stream : user.reads) BERTH_TRY(read(stream));
        for (const auto& stream : user.infos) BERTH_TRY(api("STREAM.INFO." + stream));
        for (const auto& stream : user.purges) {
            BERTH_TRY(api("STREAM.INFO." + stream));
            BERTH_TRY(api("STREAM.PURGE." + stream));
        }
        for (const auto& stream : user.manages) BERTH_TRY(manage(stream));
        for (const auto& stream : user.keeps) BERTH_TRY(keep(stream));
        if (user.admin) {
            for (const auto& stream : topology.streams) BERTH_TRY(administer(stream.name));
        }
        return {};
    }

    Permissions take() {
        // NATS reads an empty list as every right.
        if (may_.pub_allow.empty()) may_.pub_deny = {">"};
        if (may_.sub_allow.empty()) may_.sub_deny = {">"};
        return std::move(may_);
    }

private:
    Result<void> add(std::vector<std::string>& list, std::string_view subject) {
        BERTH_ASSIGN(std::string filled, fill_in(subject, names_));
        if (std::find(list.begin(), list.end(), filled) == list.end())
            list.push_back(std::move(filled));
        return {};
    }

    Result<void> consume(const std::string& name) {
        const auto slash = name.find('/');
        const std::string stream = name.substr(0, slash);
        const std::string dotted = stream + "." + name.substr(slash + 1);
        BERTH_TRY(api("CONSUMER.MSG.NEXT." + dotted));
        BERTH_TRY(api("CONSUMER.INFO." + dotted));
        BERTH_TRY(publish("$JS.ACK." + dotted + ".>"));
        // Machines and readers have no use for figures of a stream they share with other orgs.
        return names_.org.empty() ? api("STREAM.INFO." + stream) : Result<void>{};
    }

    Result<void> read(const std::string& stream) {
        BERTH_TRY(api("STREAM.INFO." + stream));
        BERTH_TRY(api("CONSUMER.CREATE." + stream)
        );  // unnamed, and below it named with the filter in
        BERTH_TRY(api("CONSUMER.CREATE." + stream + ".>"));  // the subject, as newer clients ask
        BERTH_TRY(api("CONSUMER.INFO." + stream + ".*"));
        BERTH_TRY(api("CONSUMER.DELETE." + stream + ".*"));
        BERTH_TRY(api("CONSUMER.MSG.NEXT." + stream + ".*"));
        BERTH_TRY(publish("$JS.FC." + stream + ".>"));
        return publish("$JS.ACK." + stream + ".*.>");
    }

    Result<void> manage(const std::string& stream) {
        BERTH_TRY(api("STREAM.INFO." + stream));
        BERTH_TRY(api("STREAM.MSG.GET." + stream));
        BERTH_TRY(api("STREAM.MSG.DELETE." + stream));
        BERTH_TRY(api("CONSUMER.NAMES." + stream));
        BERTH_TRY(api("CONSUMER.DURABLE.CREATE." + stream + ".*"));
        BERTH_TRY(api("CONSUMER.INFO." + stream + ".*"));
        BERTH_TRY(api("CONSUMER.DELETE." + stream + ".*"));
        BERTH_TRY(api("CONSUMER.MSG.NEXT." + stream + ".*"));
        return publish("$JS.ACK." + stream + ".*.>");
    }

    Result<void> keep(const std::string& stream) {
        BERTH_TRY(api("CONSUMER.DURABLE.CREATE." + stream + ".*"));
        BERTH_TRY(api("CONSUMER.INFO." + stream + ".*"));
        return api("CONSUMER.DELETE." + stream + ".*");
    }

    Result<void> administer(const std::string& stream) {
        for (const char* call : {"STREAM.CREATE.", "STREAM.UPDATE.", "STREAM.INFO."})
            BERTH_TRY(api(call + stream));
        for (const char* call : {"CONSUMER.DURABLE.CREATE.", "CONSUMER.INFO."})
            BERTH_TRY(api(call + stream + ".*"));
        return {};
    }

    Names names_;
    Permissions may_;
};

Result<void> check_token(const char* code, const char* field, const std::string& text) {
    if (is_subject_token(text)) return {};
    return invalid(code, std::string("the ") + field + " is no subject token", field);
}

Result<Names> names_of(const Machine& machine) {
    BERTH_TRY(check_token("bad_machine", "machine", machine.machine));
    BERTH_TRY(check_token("bad_machine", "org", machine.org));
    return Names{{}, machine.machine, machine.org};
}

Result<Names> names_of(const EventReader& reader) {
    BERTH_TRY(check_token("bad_reader", "reader", reader.reader));
    BERTH_TRY(check_token("bad_reader", "org", reader.org));
    return Names{{}, {}, reader.org, reader.reader};
}

Result<Permissions> fill_template(const Topology& topology, std::string_view name, Names names) {
    const User* found = topology.user_template(name);
    if (found == nullptr)
        return not_found("no_such_user", "users.yaml has no template " + std::string(name));
    names.user = found->name;
    Grants grants(std::move(names));
    BERTH_TRY(grants.add_user(topology, *found));
    return grants.take();
}

/// Those the template user consumes.
Result<std::vector<Consumer>> fill_consumers(
    const Topology& topology, std::string_view name, const Names& names
) {
    const User* found = topology.user_template(name);
    std::vector<Consumer> out;
    for (Consumer consumer : topology.consumer_templates) {
        const std::string full = consumer.stream + "/" + consumer.durable;
        if (found == nullptr || std::find(found->consumes.begin(), found->consumes.end(), full) ==
                                    found->consumes.end())
            continue;
        BERTH_ASSIGN(consumer.durable, fill_in(consumer.durable, names));
        BERTH_ASSIGN(consumer.filter, fill_in(consumer.filter, names));
        out.push_back(std::move(consumer));
    }
    return out;
}

/// Who a template user is made for.
struct Holder {
    std::string name;
    std::string public_key;
};

Result<std::string> mint(
    const Topology& topology,
    const identity::KeyPair& account,
    std::string_view template_user,
    Permissions permissions,
    Holder holder,
    WallTime now,
    milliseconds lifetime
) {
    identity::UserClaims claims;
    claims.permissions = std::move(permissions);
    const milliseconds most = topology.user_template(template_user)->lifetime;
    claims.expires_at = now + (lifetime.count() > 0 ? std::min(lifetime, most) : most);
    claims.name = std::move(holder.name);
    claims.subject = std::move(holder.public_key);
    return identity::encode_user(claims, account, now);
}

}  // namespace

Result<Permissions> permissions_of(const Topology& topology, std::string_view user) {
    const User* found = topology.user(user);
    if (found == nullptr)
        return not_found("no_such_user", "users.yaml has no user " + std::string(user));
    Grants grants({found->name, {}, {}});
    BERTH_TRY(grants.add_user(topology, *found));
    return grants.take();
}

Result<Permissions> permissions_of(
    const Topology& topology, std::string_view template_user, const Machine& machine
) {
    BERTH_ASSIGN(Names names, names_of(machine));
    return fill_template(topology, template_user, std::move(names));
}

Result<Permissions> permissions_of(const Topology& topology, const EventReader& reader) {
    BERTH_ASSIGN(Names names, names_of(reader));
    return fill_template(topology, "reader", std::move(names));
}

Result<std::vector<Consumer>> consumers_of(const Topology& topology, const Machine& machine) {
    BERTH_ASSIGN(const Names names, names_of(machine));
    return fill_consumers(topology, "node", names);
}

Result<std::vector<Consumer>> consumers_of(const Topology& topology, const EventReader& reader) {
    BERTH_ASSIGN(const Names names, names_of(reader));
    return fill_consumers(topology, "reader", names);
}

std::string inbox_prefix_of(const EventReader& reader) { return "_INBOX.reader." + reader.reader; }

Result<std::string> mint_machine_user(
    const Topology& topology,
    const identity::KeyPair& account,
    const Machine& machine,
    std::string_view user_public_key,
    WallTime now,
    milliseconds lifetime
) {
    BERTH_ASSIGN(Permissions permissions, permissions_of(topology, "node", machine));
    return mint(
        topology,
        account,
        "node",
        std::move(permissions),
        {"node-" + machine.machine, std::string(user_public_key)},
        now,
        lifetime
    );
}

Result<std::string> mint_reader_user(
    const Topology& topology,
    const identity::KeyPair& account,
    const EventReader& reader,
    std::string_view user_public_key,
    WallTime now,
    milliseconds lifetime
) {
    BERTH_ASSIGN(Permissions permissions, permissions_of(topology, reader));
    return mint(
        topology,
        account,
        "reader",
        std::move(permissions),
        {"reader-" + reader.reader, std::string(user_public_key)},
        now,
        lifetime
    );
}

}  // namespace berth::topology
