// SPDX-License-Identifier: Apache-2.0
// Encoding of the files in run_files.hpp.
#include "node_agent/run_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "core/fd.hpp"
#include "core/text.hpp"
#include "node_agent/packing.hpp"

namespace berth::node {
namespace {

constexpr std::string_view kMagic = "BERTHRUN5\n";
constexpr std::string_view kStates[] = {"succeeded", "failed", "canceled", "timed_out", "lost"};

/// "key=value" lines; the last, `reason`, may hold anything.
class Lines {
public:
    explicit Lines(std::string_view text) : text_(text) {}
    std::string_view get(std::string_view key) const {
        const std::string wanted = std::string(key) + "=";
        std::string_view rest = text_;
        while (!rest.empty()) {
            const auto end = rest.find('\n');
            const std::string_view line = rest.substr(0, end);
            if (line.starts_with(wanted)) return line.substr(wanted.size());
            if (end == std::string_view::npos) break;
            rest.remove_prefix(end + 1);
        }
        return {};
    }
    template <typename T>
    bool number(std::string_view key, T& out) const {
        const std::string_view word = get(key);
        const auto parsed = std::from_chars(word.data(), word.data() + word.size(), out);
        return parsed.ec == std::errc{} && parsed.ptr == word.data() + word.size();
    }
    bool flag(std::string_view key) const { return get(key) == "1"; }

private:
    std::string_view text_;
};

}  // namespace

std::string Launch::encode() const {
    Packer out(kMagic);
    for (const std::uint64_t value :
         {std::uint64_t{tty},
          std::uint64_t{input},
          std::uint64_t{relayed},
          std::uint64_t{rows},
          std::uint64_t{cols},
          output_cap,
          static_cast<std::uint64_t>(deadline_us),
          static_cast<std::uint64_t>(grace_ms)}) {
        out.put(value);
    }
    out.put(holder).put(cwd).put(sandbox).put(argv).put(env).put(env_drop).put(env_keep);
    for (const std::string* text :
         {&guard.level,
          &guard.folder,
          &guard.org,
          &guard.user,
          &guard.profile,
          &guard.agent,
          &guard.lease,
          &guard.machine,
          &guard.run,
          &guard.beside,
          &guard.beside_inside})
        out.put(*text);
    return out.take();
}

Result<Launch> Launch::decode(std::string_view bytes) {
    Launch launch;
    Unpacker source(bytes, kMagic);
    launch.tty = source.number() != 0;
    launch.input = source.number() != 0;
    launch.relayed = source.number() != 0;
    launch.rows = static_cast<std::uint32_t>(source.number());
    launch.cols = static_cast<std::uint32_t>(source.number());
    launch.output_cap = source.number();
    launch.deadline_us = static_cast<long long>(source.number());
    launch.grace_ms = static_cast<long long>(source.number());
    launch.holder = source.text();
    launch.cwd = source.text();
    launch.sandbox = source.list();
    launch.argv = source.list();
    launch.env = source.list();
    launch.env_drop = source.list();
    launch.env_keep = source.list();
    for (std::string* text :
         {&launch.guard.level,
          &launch.guard.folder,
          &launch.guard.org,
          &launch.guard.user,
          &launch.guard.profile,
          &launch.guard.agent,
          &launch.guard.lease,
          &launch.guard.machine,
          &launch.guard.run,
          &launch.guard.beside,
          &launch.guard.beside_inside})
        *text = source.text();
    if (!source.done()) return internal("bad_launch", "the launch description is damaged");
    return launch;
}

std::string_view to_string(EndState state) { return kStates[static_cast<int>(state)]; }

std::string ExitRecord::encode() const {
    std::string text =
        "state=" + std::string(to_string(state)) + "\nhas_code=" + (has_code ? "1" : "0") +
        "\ncode=" + std::to_string(code) + "\nsignal=" + std::to_string(signal) +
        "\ncapped=" + (capped ? "1" : "0") + "\nof_berth=" + (of_berth ? "1" : "0") +
        "\noutput_bytes=" + std::to_string(output_bytes) + "\nended_us=" + std::to_string(ended_us);
    std::string line = reason;
    for (char& c : line) {
        if (c == '\n') c = ' ';
    }
    return text + "\nreason=" + line + "\n";
}

Result<ExitRecord> ExitRecord::decode(std::string_view text) {
    const Lines lines(text);
    ExitRecord record;
    bool good = false;
    for (int i = 0; i < 5; ++i) {
        if (lines.get("state") != kStates[i]) continue;
        record.state = static_cast<EndState>(i);
        good = true;
    }
    good = good && lines.number("code", record.code) && lines.number("signal", record.signal) &&
           lines.number("output_bytes", record.output_bytes) &&
           lines.number("ended_us", record.ended_us);
    if (!good) return internal("bad_exit_record", "the exit record is damaged");
    record.has_code = lines.flag("has_code");
    record.capped = lines.flag("capped");
    record.of_berth = lines.flag("of_berth");
    record.reason = std::string(lines.get("reason"));
    return record;
}

std::string StartedRecord::encode() const {
    return "supervisor=" + supervisor.to_text() + "\nstarted_us=" + std::to_string(started_us) +
           "\n";
}

Result<StartedRecord> StartedRecord::decode(std::string_view text) {
    const Lines lines(text);
    StartedRecord record;
    BERTH_ASSIGN(record.supervisor, process::ProcessId::parse(lines.get("supervisor")));
    if (!lines.number("started_us", record.started_us))
        return internal("bad_started", "the start record is damaged");
    return record;
}

Result<void> create_durable(const std::filesystem::path& path, std::string_view content) {
    const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd && errno == EEXIST) return conflict("exists", path.string() + " exists already");
    if (!fd) return system_error("cannot create " + path.string(), errno);
    if (::write(fd.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size()) ||
        ::fsync(fd.get()) != 0) {
        return system_error("cannot write " + path.string(), errno);
    }
    const Fd folder(::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder || ::fsync(folder.get()) != 0)
        return system_error("cannot sync the folder of " + path.string(), errno);
    return {};
}

Result<void> write_quickly(
    const std::filesystem::path& path, std::string_view content, unsigned mode
) {
    const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    // fchmod because open's mode is cut by the umask.
    if (!fd || (mode != 0600 && ::fchmod(fd.get(), mode) != 0) ||
        ::write(fd.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size())) {
        return system_error("cannot write " + path.string(), errno);
    }
    return {};
}

}  // namespace berth::node
