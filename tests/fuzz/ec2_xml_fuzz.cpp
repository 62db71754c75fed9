// SPDX-License-Identifier: Apache-2.0
// EC2's answers from anybody: each reader ends, and what it accepts holds what callers count on.
#include "fuzz.hpp"
#include "provisioner/drivers/aws/ec2_client.hpp"
#include "provisioner/drivers/aws/ec2_xml.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    namespace aws = berth::prov::aws;
    const auto body = berth::fuzz::text_of(data, size);
    if (const auto page = aws::parse_instances(body)) {
        for (const auto& item : page->items) FUZZ_CHECK(!item.id.empty() && !item.state.empty());
    }
    if (const auto page = aws::parse_volumes(body)) {
        for (const auto& item : page->items) FUZZ_CHECK(!item.id.empty() && !item.state.empty());
    }
    (void)aws::parse_keys(body);
    (void)aws::parse_groups(body);
    (void)aws::parse_images(body);
    (void)aws::parse_vpcs(body);
    (void)aws::parse_run(body);
    (void)aws::parse_done(body, "DeleteVolume");
    if (const auto group = aws::parse_new_group(body)) FUZZ_CHECK(!group->empty());
    if (const auto error = aws::parse_error(body)) FUZZ_CHECK(!error->code.empty());
    (void)aws::parse_http_date(body);
    return 0;
}
