// SPDX-License-Identifier: Apache-2.0
// A spool segment whose bytes a crash or a full disk cut anywhere: the reader ends or says so,
// within its bounds.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "fuzz.hpp"
#include "node_agent/spool.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const std::filesystem::path folder = [] {
        char name[] = "/tmp/berth-fuzz-spool-XXXXXX";
        FUZZ_CHECK(::mkdtemp(name) != nullptr);
        static std::filesystem::path made = name;
        std::atexit([] {
            std::error_code ignored;
            std::filesystem::remove_all(made, ignored);
        });
        return made;
    }();
    const std::string path = (folder / "00000000000000000000").string();
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_CHECK(fd >= 0 && ::write(fd, data, size) == static_cast<ssize_t>(size));
    ::close(fd);
    const auto [first, last] = berth::node::SpoolReader::extent(folder);
    FUZZ_CHECK(first == 0 && last <= size);
    berth::node::SpoolReader reader(folder);
    reader.seek(0);
    std::uint64_t before = 0;
    for (;;) {
        const auto record = reader.next(last);
        if (!record || !*record) break;
        FUZZ_CHECK(reader.offset() > before && reader.offset() <= last);
        before = reader.offset();
    }
    return 0;
}
