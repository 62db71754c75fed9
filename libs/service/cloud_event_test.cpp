// SPDX-License-Identifier: Apache-2.0
// Events as CloudEvents: every type of the schemas has JSON, strange ones stay bytes, and no header
// breaks.
#include "service/cloud_event.hpp"

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>

#include "berth/lease/v1/lease.pb.h"
#include "core/json.hpp"

namespace berth::service {
namespace {

bus::Message message_of(const std::string& type, const std::string& payload) {
    return {
        "berth.evt.acme.x.y.z.1",
        {{"ce-id", "i1"}, {"ce-type", type}, {"ce-source", "berth/x"}, {"ce-time", "t"}},
        payload};
}

// docs/events.md is generated from the schemas: what it lists must be told as JSON.
TEST(CloudEventTest, EveryDocumentedTypeIsToldAsJson) {
    std::ifstream file(std::string(std::getenv("BERTH_SOURCE_DIR")) + "/docs/events.md");
    const std::regex row(R"(^\| `berth\.evt\..*\| \[(berth\.[a-zA-Z0-9.]+)\]\(#.*$)");
    int seen = 0;
    for (std::string line; std::getline(file, line);) {
        std::smatch found;
        if (!std::regex_match(line, found, row)) continue;
        const auto event = to_cloud_event(message_of(found[1], ""));
        EXPECT_EQ(event.content_type, "application/json") << found[1];
        ++seen;
    }
    EXPECT_GT(seen, 10);
}

TEST(CloudEventTest, StructuredIsOneJsonObject) {
    lease::v1::LeaseChanged changed;
    changed.mutable_lease()->set_slug("calm-otter");
    const auto event =
        to_cloud_event(message_of(changed.GetTypeName(), changed.SerializeAsString()));
    const auto json = Json::parse(structured_json(event));
    ASSERT_TRUE(json);
    EXPECT_EQ(json->string_or("specversion", ""), "1.0");
    EXPECT_EQ(json->string_or("subject", ""), "berth.evt.acme.x.y.z.1");
    EXPECT_EQ(json->find("data")->find("lease")->string_or("slug", ""), "calm-otter");
}

TEST(CloudEventTest, WhatIsNotKnownStaysBytes) {
    for (const char* type : {"berth.future.v9.Thing", "google.protobuf.Any", ""}) {
        const auto event = to_cloud_event(message_of(type, "\x01\xff"));
        EXPECT_EQ(event.content_type, "application/protobuf") << type;
        EXPECT_EQ(event.data, "\x01\xff");
        const auto json = Json::parse(structured_json(event));
        ASSERT_TRUE(json);
        EXPECT_EQ(json->string_or("data_base64", ""), "Af8=");
    }
    const auto broken = to_cloud_event(message_of("berth.lease.v1.LeaseChanged", "\xff\xff"));
    EXPECT_EQ(broken.content_type, "application/protobuf");
}

TEST(CloudEventTest, HeadersAreEncodedAsTheHttpBindingWants) {
    auto message = message_of("berth.x", "");
    message.headers.emplace_back("ce-correlationid", "Euro \xe2\x82\xac \"100%\"\r\nX: y");
    for (const auto& [name, value] : binary_headers(to_cloud_event(message))) {
        if (name == "ce-correlationid") {
            EXPECT_EQ(value, "Euro%20%E2%82%AC%20%22100%25%22%0D%0AX:%20y");
        }
        EXPECT_EQ(value.find_first_of("\r\n\" "), std::string::npos) << name;
    }
    message.headers.back().second = "\xff";
    for (const auto& [name, value] : binary_headers(to_cloud_event(message)))
        EXPECT_NE(name, "ce-correlationid") << "not UTF-8";
}

}  // namespace
}  // namespace berth::service
