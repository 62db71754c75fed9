// SPDX-License-Identifier: Apache-2.0
// Request bodies: what is taken is valid protobuf and can be told again as JSON.
#include "berth/gateway/v1/gateway.pb.h"
#include "berth/run/v1/run.pb.h"
#include "fuzz.hpp"
#include "gateway/json_body.hpp"

namespace {

template <typename Message>
void read(std::string_view text) {
    Message message;
    if (!berth::gateway::from_json(text, message)) return;
    const std::string again = berth::gateway::to_json(message);
    Message second;
    FUZZ_CHECK(berth::gateway::from_json(again, second));
    FUZZ_CHECK(berth::gateway::to_json(second) == again);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = berth::fuzz::text_of(data, size);
    read<berth::gateway::v1::AcquireBody>(text);
    read<berth::run::v1::Run>(text);
    read<berth::run::v1::Start>(text);
    return 0;
}
