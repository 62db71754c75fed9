// SPDX-License-Identifier: Apache-2.0
// Copying programs with what their loader says they need.
#include "provisioner/drivers/docker/tools.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "core/fd.hpp"
#include "core/text.hpp"
#include "process/spawn.hpp"

namespace berth::prov {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLoader = "/lib64/ld-linux-x86-64.so.2";  // of the only architecture there is
constexpr seconds kListPatience{10};
constexpr std::size_t kListBytes = 64U << 10U;

struct Copy {
    fs::path from;
    fs::path to;  ///< below the tools folder
};

Result<fs::path> program(const char* name, const char* package) {
    auto found = process::find_program(name);
    if (!found)
        return unavailable(
            "no_tool",
            std::string(name) +
                " is not installed here, and machines of the docker driver need "
                "it; install the package " +
                package
        );
    return fs::path(*found);
}

/// The libraries of a program as its loader finds them: "name => /path (0x…)" lines.
Result<std::vector<fs::path>> libraries_of(const fs::path& binary) {
    BERTH_ASSIGN(process::Pipe out, process::make_pipe());
    process::SpawnSpec spec;
    spec.argv = {kLoader, "--list", binary.string()};
    spec.env = std::vector<std::string>{};
    spec.stdin_fd = spec.stderr_fd = process::kNull;
    spec.stdout_fd = out.write.get();
    BERTH_ASSIGN(process::Child child, process::spawn(spec));
    out.write.reset();
    std::string text;
    char buffer[4'096];
    for (ssize_t got = 0; (got = ::read(out.read.get(), buffer, sizeof buffer)) != 0;) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 || text.size() > kListBytes) break;
        text.append(buffer, static_cast<std::size_t>(got));
    }
    const auto end = child.wait(kListPatience);
    if (!end) child.kill();
    if (!end || end->code != 0)
        return internal("no_tool", "the loader cannot list what " + binary.string() + " needs");
    std::vector<fs::path> libraries;
    for (const std::string_view line : split(text, '\n')) {
        const std::size_t arrow = line.find(" => /");
        if (arrow == std::string_view::npos) continue;
        const std::string_view path = line.substr(arrow + 4);
        libraries.emplace_back(std::string(path.substr(0, path.find(" ("))));
    }
    return libraries;
}

/// Same programs, same name: size and time of change stand for their content.
Result<std::string> fingerprint(const std::vector<Copy>& copies) {
    std::uint64_t hash = 14'695'981'039'346'656'037ULL;  // FNV-1a
    const auto mix = [&hash](std::string_view bytes) {
        for (const char byte : bytes)
            hash = (hash ^ static_cast<unsigned char>(byte)) * 1'099'511'628'211ULL;
    };
    for (const Copy& copy : copies) {
        struct stat info {};
        if (::stat(copy.from.c_str(), &info) != 0)
            return system_error("cannot read " + copy.from.string(), errno);
        mix(copy.from.string());
        mix(std::to_string(info.st_size) + "/" + std::to_string(info.st_mtim.tv_sec) + "/" +
            std::to_string(info.st_mtim.tv_nsec) + ";");
    }
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
    return std::string(text);
}

Result<void> copy_all(const std::vector<Copy>& copies, const fs::path& into) {
    for (const Copy& copy : copies) {
        const fs::path to = into / copy.to;
        std::error_code error;
        fs::create_directories(to.parent_path(), error);
        if (!error) fs::copy_file(copy.from, to, fs::copy_options::overwrite_existing, error);
        // Every user of every container reads and runs them. What a process cannot read its kernel
        // keeps closed to others of its user: commands cannot reach into a tool that the loader
        // runs, which nobody guards.
        if (!error) fs::permissions(to, fs::perms{copy.from == kLoader ? 0111U : 0755U}, error);
        if (!error) fs::permissions(to.parent_path(), fs::perms{0755}, error);
        if (error)
            return unavailable("no_tool", "cannot write " + to.string() + ": " + error.message());
    }
    return {};
}

}  // namespace

Result<fs::path> prepare_tools(const fs::path& folder, const fs::path& init) {
    BERTH_ASSIGN(const fs::path rsync, program("rsync", "rsync"));
    BERTH_ASSIGN(const fs::path nft, program("nft", "nftables"));
    const fs::path beside = init.parent_path();
    std::vector<Copy> copies{
        {init, "init"},
        {beside / "berth-supervisor", "supervisor"},
        {beside / "berth-shim", "shim"},
        {kLoader, "ld.so"},
        {rsync, "bin/rsync"},
        {nft, "bin/nft"}};
    for (const fs::path& binary : {rsync, nft}) {
        BERTH_ASSIGN(const std::vector<fs::path> libraries, libraries_of(binary));
        for (const fs::path& library : libraries) {
            const fs::path to = fs::path("lib") / library.filename();
            const bool known = std::any_of(copies.begin(), copies.end(), [&](const Copy& copy) {
                return copy.to == to;
            });
            if (!known) copies.push_back({library, to});
        }
    }
    BERTH_ASSIGN(const std::string mark, fingerprint(copies));
    const fs::path finished = folder / ("tools-" + mark);
    std::error_code error;
    if (fs::exists(finished, error)) return finished;
    std::string making = (folder / "making-XXXXXX").string();
    if (::mkdtemp(making.data()) == nullptr) return system_error("cannot create " + making, errno);
    auto copied = copy_all(copies, making);
    // Where each container has its own: the shims' socket, and their names.
    if (copied) {
        fs::create_directory(fs::path(making) / "guard", error);
        if (!error) fs::permissions(fs::path(making) / "guard", fs::perms{0755}, error);
        if (!error) fs::create_symlink("guard/tools", fs::path(making) / "tools", error);
        if (error) copied = system_error("cannot make the tools", error.value());
    }
    if (copied) {
        fs::permissions(making, fs::perms{0755}, error);
        fs::rename(making, finished, error);
        if (!error) return finished;
        // Another replica was faster; its copy is as good.
        if (!fs::exists(finished)) copied = system_error("cannot keep the tools", error.value());
    }
    fs::remove_all(making, error);
    if (!copied) return std::move(copied).error();
    return finished;
}

}  // namespace berth::prov
