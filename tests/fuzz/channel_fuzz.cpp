// SPDX-License-Identifier: Apache-2.0
// One side of a byte channel against a peer that sends whatever frames it likes: bounded memory, no
// byte out of turn.
#include "bus/channel_core.hpp"
#include "fuzz.hpp"

namespace {

constexpr berth::bus::ChannelCore::Limits kLimits{
    64, 256, berth::milliseconds{50}, berth::milliseconds{5'000}};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    berth::fuzz::Input input(berth::fuzz::text_of(data, size));
    berth::SteadyTime now{std::chrono::hours{1}};
    berth::bus::ChannelCore core(kLimits, now);
    std::size_t unconsumed = 0;
    while (!input.empty()) {
        now += berth::milliseconds{input.byte()};
        switch (input.byte() % 7) {
            case 0: core.send(input.take(input.byte()), now); break;
            case 1: core.finish(static_cast<int>(input.byte()), now); break;
            case 2: {
                const std::size_t some = std::min<std::size_t>(unconsumed, input.byte());
                core.consume(some, now);
                unconsumed -= some;
                break;
            }
            case 3: core.tick(now, input.byte() % 2 == 0); break;
            case 4: {  // a frame near what the protocol expects, which random bytes alone would
                       // seldom be
                berth::node::v1::ChannelFrame frame;
                frame.set_offset(input.byte());
                frame.set_data(std::string(input.take(input.byte() % 80)));
                frame.set_received(input.byte());
                frame.set_window(input.byte());
                frame.set_eof(input.byte() % 4 == 0);
                frame.set_closed(input.byte() % 8 == 0);
                core.receive(frame, now);
                break;
            }
            case 5: {
                berth::node::v1::ChannelFrame frame;
                const std::string bytes(input.take(input.byte()));
                if (frame.ParseFromString(bytes)) core.receive(frame, now);
                break;
            }
            default: core.resize(input.byte(), input.byte()); break;
        }
        unconsumed += core.take_data().size();
        FUZZ_CHECK(unconsumed <= kLimits.window_bytes);
        for (const auto& frame : core.take_frames())
            FUZZ_CHECK(frame.data().size() <= kLimits.frame_bytes);
        (void)core.take_eof();
        (void)core.take_writable();
        (void)core.take_resize();
        (void)core.next_wake();
    }
    return 0;
}
