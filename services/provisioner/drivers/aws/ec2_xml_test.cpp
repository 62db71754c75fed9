// SPDX-License-Identifier: Apache-2.0
// Answers as EC2 writes them are read whole, and whatever is not quite one is an error: nothing cut
// short may look like an empty list.
#include "provisioner/drivers/aws/ec2_xml.hpp"

#include <gtest/gtest.h>

#include "provisioner/drivers/aws/ec2_client.hpp"
#include "provisioner/drivers/aws/ec2_codes.hpp"

namespace berth::prov::aws {
namespace {

const std::string kInstances = R"(<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <requestId>8f7724cf</requestId>
  <reservationSet>
    <item><reservationId>r-1</reservationId><groupSet/><instancesSet>
      <item><instanceId>i-1</instanceId><instanceState><code>48</code><name>terminated</name></instanceState>
        <stateReason><code>Server.SpotInstanceTermination</code><message>gone &amp; done</message></stateReason>
        <clientToken>m_1-0</clientToken><launchTime>2026-01-01T00:00:00.000Z</launchTime>
        <tagSet><item><key>a&lt;b</key><value>&#x263A;</value></item><item><key>empty</key><value/></item></tagSet></item>
      <item><instanceId>i-2</instanceId><instanceState><code>16</code><name>running</name></instanceState></item>
    </instancesSet></item>
    <item><reservationId>r-2</reservationId><instancesSet>
      <item><instanceId>i-3</instanceId><instanceState><name>pending</name></instanceState></item>
    </instancesSet></item>
  </reservationSet>
  <nextToken>more</nextToken>
</DescribeInstancesResponse>)";

TEST(Ec2Xml, ReadsInstancesOfEveryReservation) {
    const auto page = parse_instances(kInstances);
    ASSERT_TRUE(page) << page.error().describe();
    ASSERT_EQ(page->items.size(), 3U);
    EXPECT_EQ(page->next_token, "more");
    const Instance& first = page->items[0];
    EXPECT_EQ(first.id, "i-1");
    EXPECT_EQ(first.state, "terminated");
    EXPECT_EQ(first.reason, "Server.SpotInstanceTermination");
    EXPECT_EQ(first.reason_text, "gone & done");
    EXPECT_EQ(first.client_token, "m_1-0");
    EXPECT_EQ(first.tags, (Tags{{"a<b", "☺"}, {"empty", ""}}));
    EXPECT_EQ(page->items[2].state, "pending");
}

TEST(Ec2Xml, AnAnswerCutAnywhereIsAnError) {
    for (std::size_t size = 0; size < kInstances.size(); ++size)
        ASSERT_FALSE(parse_instances(kInstances.substr(0, size))) << size;
}

TEST(Ec2Xml, WhatIsNotTheAnswerIsAnError) {
    const auto answer = [](const std::string& inside) {
        return "<DescribeVolumesResponse>" + inside + "</DescribeVolumesResponse>";
    };
    EXPECT_TRUE(parse_volumes(answer("<volumeSet/>")));
    for (const std::string& body :
         {answer(""),
          answer("<volumeSet><item><volumeId>vol-1</volumeId></item></volumeSet>"),
          answer("<volumeSet><item><status>available</status></item></volumeSet>"),
          answer("<volumeSet><other/></volumeSet>"),
          answer("<volumeSet/>") + answer("<volumeSet/>"),
          answer("<volumeSet/>") + "tail",
          "<!DOCTYPE x [<!ENTITY e \"eeee\">]>" + answer("<volumeSet/>"),
          answer("<volumeSet/>\xff"),
          std::string("<html><body>It works!</body></html>"),
          std::string("<DescribeInstancesResponse><volumeSet/></DescribeInstancesResponse>"),
          std::string("{}"),
          std::string()}) {
        const auto page = parse_volumes(body);
        ASSERT_FALSE(page) << body;
        EXPECT_EQ(page.error().fault, Fault::kUnavailable);
        EXPECT_EQ(page.error().code, "bad_answer");
    }
    EXPECT_FALSE(parse_volumes(answer("<volumeSet/>" + std::string(9U << 20U, ' '))));
    EXPECT_FALSE(parse_run("<RunInstancesResponse><instancesSet/></RunInstancesResponse>"));
    EXPECT_FALSE(parse_new_group("<CreateSecurityGroupResponse/>"));
    EXPECT_FALSE(parse_done("<OtherResponse/>", "DeleteVolume"));
    EXPECT_TRUE(parse_done(
        "<DeleteVolumeResponse><return>true</return></DeleteVolumeResponse>", "DeleteVolume"
    ));
}

TEST(Ec2Xml, DepthCostsNothing) {
    std::string deep;
    for (int i = 0; i < 200'000; ++i) deep += "<a>";
    EXPECT_FALSE(parse_volumes(deep));
    std::string closed = deep;
    for (int i = 0; i < 200'000; ++i) closed += "</a>";
    EXPECT_FALSE(parse_volumes(closed));
    EXPECT_TRUE(parse_volumes(
        "<DescribeVolumesResponse><volumeSet/>" + closed + "</DescribeVolumesResponse>"
    ));
}

TEST(Ec2Xml, ReadsErrorsAndTellsThemFromOtherPages) {
    const auto error = parse_error(
        "<?xml version=\"1.0\"?><Response><Errors><Error><Code>VcpuLimitExceeded</Code>"
        "<Message>You have requested "
        "more</Message></Error></Errors><RequestID>1</RequestID></Response>"
    );
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code, "VcpuLimitExceeded");
    EXPECT_EQ(error->message, "You have requested more");
    EXPECT_FALSE(parse_error("<html/>"));
    EXPECT_FALSE(parse_error("<Response/>"));
    EXPECT_FALSE(parse_error("upstream connect error"));
}

TEST(Ec2Codes, StateReasonsAndErrorsAreOneLanguage) {
    EXPECT_EQ(classify("InsufficientInstanceCapacity"), Refusal::kCapacity);
    EXPECT_EQ(classify("Server.InsufficientInstanceCapacity"), Refusal::kCapacity);
    EXPECT_EQ(classify("Client.VolumeLimitExceeded"), Refusal::kCapacity);
    EXPECT_EQ(classify("Client.UserInitiatedShutdown"), Refusal::kOther);
    EXPECT_EQ(classify("InvalidInstanceID.NotFound"), Refusal::kMissing);
    EXPECT_EQ(classify("InvalidAMIID.NotFound"), Refusal::kImage);
    EXPECT_EQ(classify("http_timeout"), Refusal::kPassing);
    EXPECT_EQ(fault_of(classify("SomethingNew")), Fault::kInvalid);
}

TEST(HttpDate, IsReadInItsOneForm) {
    EXPECT_EQ(
        parse_http_date("Sat, 21 Nov 2026 12:25:56 GMT").value(),
        parse_rfc3339("2026-11-21T12:25:56Z").value()
    );
    for (const char* text :
         {"",
          "Sat, 21 Nov 2026 12:25:56 UTC",
          "Sat, 21 Nix 2026 12:25:56 GMT",
          "Sat, xx Nov 2026 12:25:56 GMT",
          "Saturday, 21-Nov-26 12:25:56 GMT"})
        EXPECT_FALSE(parse_http_date(text)) << text;
}

}  // namespace
}  // namespace berth::prov::aws
