// SPDX-License-Identifier: Apache-2.0
// The files of a run's folder after a crash of anything, and the datagrams between node agent and
// supervisor.
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "fuzz.hpp"
#include "node_agent/run_files.hpp"
#include "node_agent/run_socket.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = berth::fuzz::text_of(data, size);
    if (const auto launch = berth::node::Launch::decode(text)) {
        const auto again = berth::node::Launch::decode(launch->encode());
        FUZZ_CHECK(
            again && again->argv == launch->argv && again->env == launch->env &&
            again->cwd == launch->cwd
        );
    }
    if (const auto record = berth::node::ExitRecord::decode(text)) {
        const auto again = berth::node::ExitRecord::decode(record->encode());
        FUZZ_CHECK(
            again && again->state == record->state && again->code == record->code &&
            again->output_bytes == record->output_bytes
        );
    }
    if (const auto record = berth::node::StartedRecord::decode(text)) (void)record->encode();

    static const auto sockets = [] {
        std::array<int, 2> pair{};
        FUZZ_CHECK(
            ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.data()) ==
            0
        );
        return pair;
    }();
    if (size == 0 || size > berth::node::kWordBytes ||
        ::send(sockets[0], data, size, 0) != static_cast<ssize_t>(size))
        return 0;
    static char buffer[berth::node::kWordBytes];
    bool closed = false;
    const auto word = berth::node::receive_word(sockets[1], buffer, sizeof buffer, closed);
    if (!word) return 0;
    FUZZ_CHECK(word->data.size() <= size);
    // What was understood can be said again and is understood the same.
    if (berth::node::send_word(sockets[0], *word) != berth::node::SendResult::kSent) return 0;
    static char second[berth::node::kWordBytes];
    const auto again = berth::node::receive_word(sockets[1], second, sizeof second, closed);
    FUZZ_CHECK(
        again && again->word == word->word && again->a == word->a && again->data == word->data
    );
    return 0;
}
