// SPDX-License-Identifier: Apache-2.0
// A few instructions at the image's first one. x86-64 and i386 programs alike; system calls by
// their numbers, because the kernel clobbers registers that are set at an exec stop.
#include "node_agent/injection.hpp"

#include <linux/audit.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstring>

#include "core/text.hpp"

namespace berth::node {
namespace {

constexpr std::size_t kMostText = 4'000;
constexpr unsigned kPrSetDumpable = 4;

/// A system call's number for x86-64 and for i386.
struct Number {
    unsigned wide, narrow;
};
constexpr Number kWrite{1, 4};
constexpr Number kExecve{59, 11};
constexpr Number kDumpable{157, 172};  // prctl
constexpr Number kExit{231, 252};      // exit_group

/// Instructions, each with its 32-bit operand.
class Code {
public:
    explicit Code(bool narrow) : narrow_(narrow) {}
    Code& call(const Number& number, std::initializer_list<unsigned long> arguments) {
        // mov rdi, rsi, rdx with 64 bits each, or ebx, ecx, edx with 32.
        static constexpr unsigned char kWideRegister[] = {0xbf, 0xbe, 0xba};
        static constexpr unsigned char kNarrowRegister[] = {0xbb, 0xb9, 0xba};
        std::size_t i = 0;
        for (const unsigned long value : arguments) {
            if (narrow_) {
                byte(kNarrowRegister[i]).put(value, 4);
            } else {
                byte(0x48).byte(kWideRegister[i]).put(value, 8);
            }
            ++i;
        }
        byte(0xb8).put(narrow_ ? number.narrow : number.wide, 4);
        return narrow_ ? byte(0xcd).byte(0x80) : byte(0x0f).byte(0x05);
    }
    Code& trap() { return byte(0xcc); }
    const std::string& bytes() const { return bytes_; }

private:
    Code& byte(unsigned char value) {
        bytes_.push_back(static_cast<char>(value));
        return *this;
    }
    void put(unsigned long value, std::size_t size) {
        bytes_.append(reinterpret_cast<const char*>(&value), size);
    }
    bool narrow_;
    std::string bytes_;
};

/// Into memory that is mapped writable.
bool write_data(pid_t pid, unsigned long address, std::string_view bytes) {
    iovec local{const_cast<char*>(bytes.data()), bytes.size()};
    iovec remote{reinterpret_cast<void*>(address), bytes.size()};
    return ::process_vm_writev(pid, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(bytes.size());
}

bool read_data(pid_t pid, unsigned long address, std::string& bytes) {
    iovec local{bytes.data(), bytes.size()};
    iovec remote{reinterpret_cast<void*>(address), bytes.size()};
    return ::process_vm_readv(pid, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(bytes.size());
}

/// Into the image's text: the kernel gives this process a copy of its own.
bool write_text(pid_t pid, unsigned long address, std::string_view bytes) {
    for (std::size_t at = 0; at < bytes.size(); at += sizeof(long)) {
        long word = 0;
        const std::size_t count = std::min(sizeof word, bytes.size() - at);
        if (count < sizeof word) {
            std::string old(sizeof word, '\0');
            // Past the end of a mapping nothing is kept: only our own bytes matter.
            if (read_data(pid, address + at, old)) std::memcpy(&word, old.data(), sizeof word);
        }
        std::memcpy(&word, bytes.data() + at, count);
        if (::ptrace(PTRACE_POKETEXT, pid, address + at, word) != 0) return false;
    }
    return true;
}

bool get_registers(pid_t pid, user_regs_struct& registers) {
    return ::ptrace(PTRACE_GETREGS, pid, nullptr, &registers) == 0;
}

/// Room for `size` bytes on the stack of an image that needs it no more: over its arguments, or
/// below where these are fewer. The kernel maps 128 KiB below a new image's stack, less eight bytes
/// for each argument. 0: nowhere.
unsigned long room_on_stack(pid_t pid, unsigned long stack, std::size_t size) {
    constexpr unsigned long kApart = 1'024;
    std::string there(size, '\0');
    if (read_data(pid, stack, there)) return stack;
    const unsigned long below = (stack - size - kApart) & ~15UL;
    return read_data(pid, below, there) ? below : 0;
}

/// A reader that is gone must not decide the exit code.
void block_sigpipe(pid_t pid) {
    std::uint64_t mask = 0;
    if (::ptrace(PTRACE_GETSIGMASK, pid, sizeof mask, &mask) != 0) return;
    mask |= 1ULL << (SIGPIPE - 1);
    ::ptrace(PTRACE_SETSIGMASK, pid, sizeof mask, &mask);
}

}  // namespace

bool inject_refusal(pid_t pid, std::string_view reason) {
    user_regs_struct registers{};
    if (!get_registers(pid, registers)) return false;
    const std::string text = clipped(reason, kMostText);
    const unsigned long at = room_on_stack(pid, registers.rsp, text.size());
    if (at == 0 || !write_data(pid, at, text)) return false;
    block_sigpipe(pid);
    Code program(registers.cs == kCodeSegment32);
    program.call(kDumpable, {kPrSetDumpable, 0})
        .call(kWrite, {2, at, text.size()})
        .call(kExit, {kRefusedCode})
        .trap();
    return write_text(pid, registers.rip, program.bytes());
}

bool hold_to_refusal(pid_t pid) {
    __ptrace_syscall_info info{};
    if (::ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <= 0) return false;
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) return true;
    const bool narrow = info.arch == AUDIT_ARCH_I386;
    const auto is = [&](const Number& call, std::uint64_t first) {
        return info.entry.nr == (narrow ? call.narrow : call.wide) && info.entry.args[0] == first;
    };
    if (is(kDumpable, kPrSetDumpable) || is(kWrite, 2)) return true;
    user_regs_struct registers{};
    if (!get_registers(pid, registers)) return false;
    registers.orig_rax = narrow ? kExit.narrow : kExit.wide;
    (narrow ? registers.rbx : registers.rdi) = kRefusedCode;
    return ::ptrace(PTRACE_SETREGS, pid, nullptr, &registers) == 0;
}

bool inject_dumpable(pid_t pid, bool dumpable, Injected& injected) {
    injected.dumpable = dumpable;
    injected.begun = false;
    if (!get_registers(pid, injected.registers)) return false;
    Code program(injected.registers.cs == kCodeSegment32);
    program.call(kDumpable, {kPrSetDumpable, dumpable ? 1UL : 0UL}).trap();
    injected.address = injected.registers.rip;
    injected.code.assign(program.bytes().size(), '\0');
    return read_data(pid, injected.address, injected.code) &&
           write_text(pid, injected.address, program.bytes());
}

std::optional<bool> follow_dumpable(pid_t pid, Injected& injected) {
    __ptrace_syscall_info info{};
    if (::ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <= 0) return std::nullopt;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
        const bool narrow = info.arch == AUDIT_ARCH_I386;
        injected.begun = !injected.begun &&
                         info.entry.nr == (narrow ? kDumpable.narrow : kDumpable.wide) &&
                         info.entry.args[0] == kPrSetDumpable &&
                         info.entry.args[1] == (injected.dumpable ? 1U : 0U);
        return injected.begun ? std::optional(false) : std::nullopt;
    }
    if (info.op != PTRACE_SYSCALL_INFO_EXIT) return std::nullopt;
    if (!injected.begun) return false;  // the end of its exec
    return info.exit.rval == 0 ? std::optional(true) : std::nullopt;
}

bool put_back(pid_t pid, const Injected& injected) {
    user_regs_struct registers = injected.registers;
    registers.orig_rax = ~0ULL;  // no system call is to be started again
    return write_text(pid, injected.address, injected.code) &&
           ::ptrace(PTRACE_SETREGS, pid, nullptr, &registers) == 0;
}

bool inject_exec(
    pid_t pid,
    const std::string& path,
    const std::vector<std::string>& argv,
    const std::vector<std::string>& environment
) {
    user_regs_struct registers{};
    if (!get_registers(pid, registers)) return false;
    const bool narrow = registers.cs == kCodeSegment32;
    const std::size_t width = narrow ? 4 : 8;
    // The strings, then the two lists of their addresses.
    std::string strings;
    std::vector<std::size_t> offsets;
    const auto put = [&](const std::string& text) {
        offsets.push_back(strings.size());
        strings.append(text.c_str(), text.size() + 1);
    };
    put(path);
    for (const auto& word : argv) put(word);
    for (const auto& word : environment) put(word);
    strings.resize((strings.size() + 15) / 16 * 16);
    const std::size_t lists = (argv.size() + environment.size() + 2) * width;
    const std::size_t total = strings.size() + lists;
    const unsigned long base = room_on_stack(pid, registers.rsp, total);
    if (base == 0) return false;
    std::string bytes = strings;
    const auto list = [&](std::size_t first, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            const unsigned long address = base + offsets[first + i];
            bytes.append(reinterpret_cast<const char*>(&address), width);
        }
        bytes.append(width, '\0');
    };
    list(1, argv.size());
    list(1 + argv.size(), environment.size());
    if (!write_data(pid, base, bytes)) return false;
    const unsigned long argv_at = base + strings.size();
    Code program(narrow);
    program.call(kExecve, {base, argv_at, argv_at + (argv.size() + 1) * width})
        .call(kExit, {kRefusedCode})
        .trap();
    return write_text(pid, registers.rip, program.bytes());
}

}  // namespace berth::node
