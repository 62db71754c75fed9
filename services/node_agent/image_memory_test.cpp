// SPDX-License-Identifier: Apache-2.0
// Proves that what anybody writes into an image that has run nothing yet is seen, wherever it is,
// and does not make its memory appear closed.
#include "node_agent/image_memory.hpp"

#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>

#include "node_agent/injection.hpp"
#include "node_agent/open_memory.hpp"
#include "node_agent/test_machine.hpp"
#include "support/bypass/bypass_set.hpp"
#include "support/temporary_folder.hpp"

namespace berth::node::testing {
namespace {

/// Stands before its first instruction until it is killed.
class NewImage {
public:
    explicit NewImage(const std::string& path) : pid_(::fork()) {
        if (pid_ == 0) {
            ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
            ::execl(path.c_str(), path.c_str(), "word", nullptr);
            ::_exit(1);
        }
        int status = 0;
        ::waitpid(pid_, &status, 0);
        stands_ = WIFSTOPPED(status);
    }
    ~NewImage() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    pid_t pid() const { return pid_; }
    bool stands() const { return stands_; }
    user_regs_struct registers() const {
        user_regs_struct registers{};
        ::ptrace(PTRACE_GETREGS, pid_, nullptr, &registers);
        return registers;
    }
    long word(unsigned long at) const { return ::ptrace(PTRACE_PEEKDATA, pid_, at, nullptr); }
    void put(unsigned long at, long word) const {
        ASSERT_EQ(::ptrace(PTRACE_POKEDATA, pid_, at, word), 0) << std::hex << at;
    }

private:
    pid_t pid_;
    bool stands_ = false;
};

struct Part {
    std::string name;
    unsigned long from = 0;
    unsigned long to = 0;
};

std::vector<Part> parts_of(pid_t pid) {
    std::vector<Part> parts;
    std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
    for (std::string line; std::getline(maps, line);) {
        Part part;
        int size = 0;
        std::sscanf(line.c_str(), "%lx-%lx%n", &part.from, &part.to, &size);
        part.name = line.substr(static_cast<std::size_t>(size));
        const auto known = [&](const char* name) { return line.find(name) != std::string::npos; };
        if (!known("[stack]") && !known("[vvar") && !known("[vsyscall]")) parts.push_back(part);
    }
    return parts;
}

Fd open_here(const std::string& path) { return Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)); }

void expect_all_seen(const std::string& path) {
    const NewImage image(path);
    ASSERT_TRUE(image.stands()) << path;
    const auto memory = ImageMemory::of(image.pid());
    ASSERT_TRUE(memory);
    const auto unchanged = [&] { return memory->is_unchanged(image.pid(), open_here); };
    EXPECT_TRUE(unchanged()) << path;
    const auto see = [&](unsigned long at, const std::string& what) {
        const long word = image.word(at);
        image.put(at, word ^ 0x10);
        EXPECT_FALSE(unchanged()) << path << " " << what << " at " << std::hex << at;
        image.put(at, word);
    };
    const auto see_both = [&](unsigned long at, const std::string& what) {
        see(at, what);
        EXPECT_TRUE(unchanged()) << path << " " << what << " at " << std::hex << at;
    };
    see_both(image.registers().rip, "where it begins");
    const unsigned long width = image.registers().cs == 0x23 ? 4 : 8;
    const auto parts = parts_of(image.pid());
    const auto is_code = [&](const Part& part) { return part.name.ends_with("[vdso]"); };
    for (const Part& part : parts) {
        // The kernel's code of another width is known by not being written to alone.
        if (width == 4 && is_code(part)) continue;
        see_both(part.from, part.name);
        see_both(part.to - sizeof(long), part.name);
    }
    // The arguments, and behind the environment what the kernel told it.
    unsigned long at = image.registers().rsp + 4 * width;  // behind the two arguments
    const auto value = [&](unsigned long place) {
        const auto word = static_cast<unsigned long>(image.word(place));
        return width == 4 ? word & 0xffffffffUL : word;
    };
    while (value(at) != 0) at += width;
    see_both(at + width, "the first thing it is told");
    see_both(at + 2 * width, "the first thing it is told");
    for (const Part& part : parts)
        if (is_code(part)) see(part.from, part.name);
}

TEST(ImageMemory, SeesWhatIsWrittenIntoADynamicProgram) { expect_all_seen("/usr/bin/true"); }

TEST(ImageMemory, SeesWhatIsWrittenIntoAStaticProgram) {
    expect_all_seen(binary("guard_probe").string());
}

TEST(ImageMemory, SeesWhatIsWrittenIntoANarrowProgram) {
    const berth::testing::TemporaryFolder folder;
    const fs::path path = folder.path() / "p32";
    std::ofstream(path, std::ios::binary) << berth::testing::bypass::program32();
    fs::permissions(path, fs::perms::owner_all);
    expect_all_seen(path.string());
}

TEST(ImageMemory, AnImageIsTheOneItWasTakenOfAlone) {
    const NewImage one("/usr/bin/true");
    const NewImage other("/usr/bin/env");
    ASSERT_TRUE(one.stands() && other.stands());
    const auto memory = ImageMemory::of(one.pid());
    ASSERT_TRUE(memory);
    EXPECT_FALSE(memory->is_unchanged(other.pid(), open_here));
}

/// What comes of closing an image's memory where `change` rewrites what was put into it.
std::optional<bool> close_memory(const std::function<void(const NewImage&, unsigned long)>& change
) {
    const NewImage image("/usr/bin/true");
    Injected injected;
    EXPECT_TRUE(image.stands() && inject_dumpable(image.pid(), false, injected));
    EXPECT_EQ(::ptrace(PTRACE_SETOPTIONS, image.pid(), nullptr, PTRACE_O_TRACESYSGOOD), 0);
    change(image, injected.address);
    std::optional<bool> done = false;
    for (int status = 0; done && !*done; done = follow_dumpable(image.pid(), injected)) {
        ::ptrace(PTRACE_SYSCALL, image.pid(), nullptr, nullptr);
        ::waitpid(image.pid(), &status, 0);
        if (!WIFSTOPPED(status) || WSTOPSIG(status) != (SIGTRAP | 0x80)) return std::nullopt;
    }
    return done;
}

TEST(Injection, ClosingMemoryIsTheKernelsWordAndNotTheImages) {
    EXPECT_EQ(close_memory([](const auto&, unsigned long) {}), true);
    // mov rdi, 4; mov rsi, 0; mov eax, 157; syscall; int3
    constexpr unsigned long kOption = 2;
    constexpr unsigned long kValue = 12;
    constexpr unsigned long kNumber = 21;
    constexpr unsigned long kCall = 25;
    constexpr long kNothing = 0x9090'9090'9090'9090;
    const auto changed = [](unsigned long offset) {
        return close_memory([offset](const NewImage& image, unsigned long at) {
            image.put(at + offset, image.word(at + offset) ^ 1);
        });
    };
    for (const unsigned long offset : {kOption, kValue, kNumber})
        EXPECT_EQ(changed(offset), std::nullopt) << offset;
    // Straight to the trap at its end.
    EXPECT_EQ(
        close_memory([](const NewImage& image, unsigned long at) {
            image.put(at + kCall, (kNothing & ~0xff0000L) | 0xcc0000L);
        }),
        std::nullopt
    );
}

TEST(OpenMemory, IsSeenWhereItCanBeWrittenTo) {
    const auto opens = [](const char* path, int flags) {
        const int file = ::open(path, flags);
        const pid_t child = ::fork();
        if (child == 0)
            for (;;) ::pause();
        ::close(file);
        const bool open = has_memory_open(child);
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        return open;
    };
    EXPECT_TRUE(opens("/proc/self/mem", O_RDWR));
    EXPECT_TRUE(opens("/proc/1/../self/mem", O_WRONLY));
    EXPECT_FALSE(opens("/proc/self/mem", O_RDONLY));
    EXPECT_FALSE(opens("/proc/self/comm", O_RDWR));
    EXPECT_FALSE(opens("/dev/null", O_RDWR));
    EXPECT_FALSE(has_memory_open(0x3fffffff)) << "nobody";
}

}  // namespace
}  // namespace berth::node::testing
