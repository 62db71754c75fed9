// SPDX-License-Identifier: Apache-2.0
// pugixml behind typed readers; its only home.
#include "provisioner/drivers/aws/ec2_xml.hpp"

#include <pugixml.hpp>

#include "core/text.hpp"

namespace berth::prov::aws {
namespace {

using Node = pugi::xml_node;

// A document type and text outside the root are looked for in order to be refused.
constexpr unsigned kFlags = pugi::parse_default | pugi::parse_doctype | pugi::parse_fragment;

Error bad_answer(std::string_view what) {
    return unavailable("bad_answer", "EC2's answer cannot be understood: " + std::string(what));
}

class Document {
public:
    /// The root element of a well-formed document with nothing beside it.
    Result<Node> load(std::string_view body) {
        if (body.size() > kMaxAnswer) return bad_answer("it is too large");
        if (!is_utf8(body)) return bad_answer("it is not UTF-8");
        const auto parsed =
            document_.load_buffer(body.data(), body.size(), kFlags, pugi::encoding_utf8);
        if (!parsed) return bad_answer(parsed.description());
        Node root;
        for (const Node child : document_.children()) {
            if (child.type() == pugi::node_doctype) return bad_answer("it has a document type");
            if (child.type() != pugi::node_element) return bad_answer("text outside the root");
            if (root) return bad_answer("it has two roots");
            root = child;
        }
        if (!root) return bad_answer("it is empty");
        return root;
    }
    Result<Node> load(std::string_view body, std::string_view root_name) {
        BERTH_ASSIGN(const Node root, load(body));
        if (root.name() != root_name)
            return bad_answer(
                "<" + std::string(root.name()) + "> instead of <" + std::string(root_name) + ">"
            );
        return root;
    }

private:
    pugi::xml_document document_;
};

Result<std::string> needed(Node node, const char* name) {
    const std::string text = node.child(name).text().get();
    if (text.empty())
        return bad_answer("<" + std::string(node.name()) + "> without " + std::string(name));
    return text;
}
std::string optional(Node node, const char* name) { return node.child(name).text().get(); }

Tags read_tags(Node node) {
    Tags tags;
    for (const Node item : node.child("tagSet").children("item"))
        tags[optional(item, "key")] = optional(item, "value");
    return tags;
}

Result<void> read(Node node, Instance& instance) {
    BERTH_ASSIGN(instance.id, needed(node, "instanceId"));
    BERTH_ASSIGN(instance.state, needed(node.child("instanceState"), "name"));
    const Node reason = node.child("stateReason");
    instance.reason = optional(reason, "code");
    instance.reason_text = optional(reason, "message");
    instance.type = optional(node, "instanceType");
    instance.client_token = optional(node, "clientToken");
    instance.launched = optional(node, "launchTime");
    instance.tags = read_tags(node);
    return {};
}
Result<void> read(Node node, Key& key) {
    BERTH_ASSIGN(key.id, needed(node, "keyPairId"));
    BERTH_ASSIGN(key.name, needed(node, "keyName"));
    key.tags = read_tags(node);
    return {};
}
Result<void> read(Node node, Group& group) {
    BERTH_ASSIGN(group.id, needed(node, "groupId"));
    BERTH_ASSIGN(group.name, needed(node, "groupName"));
    group.vpc = optional(node, "vpcId");
    group.tags = read_tags(node);
    return {};
}
Result<void> read(Node node, Volume& volume) {
    BERTH_ASSIGN(volume.id, needed(node, "volumeId"));
    BERTH_ASSIGN(volume.state, needed(node, "status"));
    volume.tags = read_tags(node);
    return {};
}
Result<void> read(Node node, Image& image) {
    BERTH_ASSIGN(image.id, needed(node, "imageId"));
    BERTH_ASSIGN(image.state, needed(node, "imageState"));
    image.created = optional(node, "creationDate");
    image.root_device = optional(node, "rootDeviceName");
    for (const Node item : node.child("blockDeviceMapping").children("item")) {
        const Node ebs = item.child("ebs");
        if (!ebs) continue;
        Device device;
        BERTH_ASSIGN(device.name, needed(item, "deviceName"));
        device.gib = ebs.child("volumeSize").text().as_int();
        image.devices.push_back(std::move(device));
    }
    return {};
}
Result<void> read(Node node, Vpc& vpc) {
    BERTH_ASSIGN(vpc.id, needed(node, "vpcId"));
    return {};
}

template <typename T>
Result<void> read_items(Node parent, const char* set, std::vector<T>& out) {
    const Node list = parent.child(set);
    if (!list) return bad_answer("no " + std::string(set));
    for (const Node item : list.children()) {
        if (item.name() != std::string_view("item"))
            return bad_answer("<" + std::string(item.name()) + "> in " + std::string(set));
        T value;
        BERTH_TRY(read(item, value));
        out.push_back(std::move(value));
    }
    return {};
}

template <typename T>
Result<Page<T>> parse_page(std::string_view body, std::string_view root_name, const char* set) {
    Document document;
    BERTH_ASSIGN(const Node root, document.load(body, root_name));
    Page<T> page;
    BERTH_TRY(read_items(root, set, page.items));
    page.next_token = optional(root, "nextToken");
    return page;
}

}  // namespace

Result<Page<Instance>> parse_instances(std::string_view body) {
    Document document;
    BERTH_ASSIGN(const Node root, document.load(body, "DescribeInstancesResponse"));
    const Node reservations = root.child("reservationSet");
    if (!reservations) return bad_answer("no reservationSet");
    Page<Instance> page;
    for (const Node reservation : reservations.children())
        BERTH_TRY(read_items(reservation, "instancesSet", page.items));
    page.next_token = optional(root, "nextToken");
    return page;
}

Result<Page<Key>> parse_keys(std::string_view body) {
    return parse_page<Key>(body, "DescribeKeyPairsResponse", "keySet");
}
Result<Page<Group>> parse_groups(std::string_view body) {
    return parse_page<Group>(body, "DescribeSecurityGroupsResponse", "securityGroupInfo");
}
Result<Page<Volume>> parse_volumes(std::string_view body) {
    return parse_page<Volume>(body, "DescribeVolumesResponse", "volumeSet");
}
Result<Page<Image>> parse_images(std::string_view body) {
    return parse_page<Image>(body, "DescribeImagesResponse", "imagesSet");
}
Result<Page<Vpc>> parse_vpcs(std::string_view body) {
    return parse_page<Vpc>(body, "DescribeVpcsResponse", "vpcSet");
}

Result<Instance> parse_run(std::string_view body) {
    Document document;
    BERTH_ASSIGN(const Node root, document.load(body, "RunInstancesResponse"));
    std::vector<Instance> instances;
    BERTH_TRY(read_items(root, "instancesSet", instances));
    if (instances.size() != 1) return bad_answer("not one instance");
    return std::move(instances.front());
}

Result<std::string> parse_new_group(std::string_view body) {
    Document document;
    BERTH_ASSIGN(const Node root, document.load(body, "CreateSecurityGroupResponse"));
    return needed(root, "groupId");
}

Result<void> parse_done(std::string_view body, std::string_view action) {
    Document document;
    BERTH_TRY(document.load(body, std::string(action) + "Response"));
    return {};
}

std::optional<ApiError> parse_error(std::string_view body) {
    Document document;
    const auto root = document.load(body, "Response");
    if (!root) return std::nullopt;
    const Node error = root->child("Errors").child("Error");
    ApiError out{optional(error, "Code"), optional(error, "Message")};
    if (out.code.empty()) return std::nullopt;
    return out;
}

}  // namespace berth::prov::aws
