// SPDX-License-Identifier: Apache-2.0
// The file system and namespaces a command sees. The network is in network.cpp.
#include "node_agent/sandbox.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/fd.hpp"
#include "node_agent/run_files.hpp"
#include "process/spawn.hpp"

namespace berth::node {
namespace {

namespace fs = std::filesystem;

/// What of the host's /etc programs need to work. Nothing that may hold a secret or names the
/// host's people: passwd and group are generated, shadow, npmrc, pip.conf and the like are left
/// out.
constexpr const char* kEtcOfHost[] = {
    "alternatives",
    "apache2",
    "bash.bashrc",
    "bash_completion.d",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "environment",
    "fonts",
    "gai.conf",
    "host.conf",
    "inputrc",
    "issue",
    "java-11-openjdk",
    "java-17-openjdk",
    "java-21-openjdk",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "login.defs",
    "magic",
    "maven",
    "mime.types",
    "netconfig",
    "networks",
    "nsswitch.conf",
    "os-release",
    "perl",
    "pki",
    "profile",
    "profile.d",
    "protocols",
    "python3",
    "python3.11",
    "redhat-release",
    "rpc",
    "services",
    "shells",
    "skel",
    "ssl",
    "terminfo",
    "timezone",
    "vim",
    "xml",
};

constexpr std::size_t kEtcFileLimit = 4U << 20U;  // services and ld.so.cache are the largest

void append(std::vector<std::string>& to, std::initializer_list<std::string> words) {
    to.insert(to.end(), words.begin(), words.end());
}

/// /bin, /lib and so on as this host has them: links into /usr, or folders of their own.
void append_system_folders(std::vector<std::string>& to) {
    append(to, {"--ro-bind", "/usr", "/usr"});
    for (const char* name : {"/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin"}) {
        std::error_code error;
        if (fs::is_symlink(name, error))
            append(to, {"--symlink", fs::read_symlink(name, error).string(), name});
        else if (fs::is_directory(name, error))
            append(to, {"--ro-bind", name, name});
    }
    append(to, {"--ro-bind-try", "/opt", "/opt"});
}

Result<void> make_folder(const fs::path& path, mode_t mode = 0700) {
    if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST)
        return system_error("cannot create " + path.string(), errno);
    return {};
}

/// One of kEtcOfHost in the machine's own /etc: a copy of a file, a mount point for a folder. A
/// copy is made again when the host's file changed.
Result<void> take_over(const fs::path& from, const fs::path& to) {
    struct stat theirs {};
    if (::stat(from.c_str(), &theirs) != 0) {
        (void)::unlink(to.c_str());  // never a folder: that stays as an empty one
        return {};
    }
    if (S_ISDIR(theirs.st_mode)) return make_folder(to, 0755);
    struct stat ours {};
    const bool same = ::lstat(to.c_str(), &ours) == 0 && ours.st_size == theirs.st_size &&
                      ours.st_mtim.tv_sec == theirs.st_mtim.tv_sec &&
                      ours.st_mtim.tv_nsec == theirs.st_mtim.tv_nsec;
    if (same || !S_ISREG(theirs.st_mode)) return {};
    const auto content = read_file(from, kEtcFileLimit);
    if (!content) return {};  // as if it were not there: this user may not read it
    const fs::path next = to.parent_path() / ("." + to.filename().string());
    BERTH_TRY(write_quickly(next, *content));
    const timespec times[] = {theirs.st_mtim, theirs.st_mtim};
    if (::chmod(next.c_str(), 0644) != 0 ||
        ::utimensat(AT_FDCWD, next.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0 ||
        ::rename(next.c_str(), to.c_str()) != 0)
        return system_error("cannot write " + to.string(), errno);
    return {};
}

constexpr milliseconds kEndGrace{0};  // holder and pasta have nothing to tidy

}  // namespace

Result<Sandbox> Sandbox::prepare(SandboxSettings settings) {
    Sandbox sandbox(std::move(settings));
    const auto find = [](const char* name, const char* package, std::string& path, const char* code
                      ) -> Result<void> {
        auto found = process::find_program(name);
        if (!found)
            return unavailable(
                code, std::string(name) + " is not installed; install the package " + package
            );
        path = std::move(*found);
        return {};
    };
    BERTH_TRY(find("bwrap", "bubblewrap", sandbox.bwrap_, "no_bubblewrap"));
    if (sandbox.settings_.network) {
        BERTH_TRY(find("pasta", "passt", sandbox.pasta_, "no_pasta"));
        BERTH_TRY(find("nft", "nftables", sandbox.nft_, "no_nft"));
        const Fd tun(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
        if (!tun) {
            return unavailable(
                "network_unavailable",
                "the profile wants network, but /dev/net/tun cannot be opened by this user: run "
                "`chmod 0666 /dev/net/tun` as root (udev's default), or use a profile without "
                "network"
            );
        }
    }
    for (const char* name : {"node", "workspace", "home", "tmp", "runs"}) {
        BERTH_TRY(make_folder(sandbox.settings_.dir / name));
    }
    BERTH_TRY(sandbox.write_etc());
    return sandbox;
}

Result<void> Sandbox::write_etc() const {
    const fs::path etc = settings_.dir / "node" / "etc";
    BERTH_TRY(make_folder(etc));
    const std::string id = std::to_string(kInsideUid);
    const std::string dns = settings_.network ? std::string("nameserver ") + kInsideDns +
                                                    "\noptions timeout:3 attempts:2\n"
                                              : "";
    const std::pair<const char*, std::string> files[] = {
        {"passwd",
         "root:x:0:0:root:/root:/bin/sh\nberth:x:" + id + ":" + id +
             ":Berth:/home/berth:/bin/bash\n"
             "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
        {"group", "root:x:0:\ntty:x:5:\nberth:x:" + id + ":\nnogroup:x:65534:\n"},
        {"hosts", "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 " + settings_.slug + "\n"},
        {"hostname", settings_.slug + "\n"},
        {"resolv.conf", dns},
    };
    for (const auto& [name, content] : files)
        BERTH_TRY(write_file_atomic(etc / name, content, 0644));
    return refresh_etc();
}

Result<void> Sandbox::refresh_etc() const {
    for (const char* name : kEtcOfHost)
        BERTH_TRY(take_over(fs::path("/etc") / name, settings_.dir / "node" / "etc" / name));
    return {};
}

std::vector<std::string> Sandbox::base_command() const {
    std::vector<std::string> argv{bwrap_};
    const std::string id = std::to_string(kInsideUid);
    append(
        argv,
        {"--unshare-user",
         "--uid",
         id,
         "--gid",
         id,
         "--unshare-pid",
         "--unshare-ipc",
         "--unshare-uts",
         "--unshare-cgroup-try",
         "--hostname",
         settings_.slug,
         "--die-with-parent",
         "--cap-drop",
         "ALL"}
    );
    append_system_folders(argv);
    append(
        argv,
        {"--proc",
         "/proc",
         "--dev",
         "/dev",
         "--tmpfs",
         "/run",
         "--dir",
         "/var",
         "--tmpfs",
         "/var/tmp",
         "--symlink",
         "../run",
         "/var/run"}
    );
    // Each mount costs a run a quarter of a millisecond: one for all the files.
    const fs::path etc = settings_.dir / "node" / "etc";
    append(argv, {"--ro-bind", etc.string(), "/etc"});
    for (const char* name : kEtcOfHost) {
        const fs::path path = fs::path("/etc") / name;
        std::error_code error;
        if (fs::is_directory(path, error) && fs::is_directory(etc / name, error))
            append(argv, {"--ro-bind-try", path.string(), path.string()});
    }
    append(argv, {"--bind", (settings_.dir / "workspace").string(), kInsideWorkspace});
    return argv;
}

std::vector<std::string> Sandbox::run_command() const {
    std::vector<std::string> argv = base_command();
    append(
        argv,
        {"--bind",
         (settings_.dir / "home").string(),
         "/home/berth",
         "--bind",
         (settings_.dir / "tmp").string(),
         "/tmp",
         "--ro-bind",
         settings_.init.string(),
         "/.berth/init",
         // Last, when every mount point is made: the root itself is memory nobody should fill.
         "--remount-ro",
         "/",
         "--chdir",
         "/",
         "--as-pid-1",
         "--",
         "/.berth/init",
         "run"}
    );
    return argv;
}

std::vector<std::string> Sandbox::tool_command(
    const std::vector<std::string>& program, const std::string& cwd
) const {
    std::vector<std::string> argv = base_command();
    append(
        argv,
        {"--unshare-net",
         "--bind",
         (settings_.dir / "tmp").string(),
         "/tmp",
         "--remount-ro",
         "/",
         "--chdir",
         cwd,
         "--"}
    );
    argv.insert(argv.end(), program.begin(), program.end());
    return argv;
}

Result<std::string> Sandbox::ensure() {
    BERTH_TRY(refresh_etc());
    BERTH_ASSIGN(const process::ProcessId holder, ensure_holder());
    return holder.to_text();
}

Result<std::vector<std::string>> Sandbox::rsync() {
    // The machine's own, or that of the node bundle, which is below /opt and so seen from inside.
    for (const std::string& path :
         {std::string("/usr/bin/rsync"), (settings_.init.parent_path() / "rsync").string()}) {
        if (::access(path.c_str(), X_OK) == 0) return std::vector<std::string>{path};
    }
    return unavailable(
        "no_rsync", "rsync is not installed on the machine; install the package rsync"
    );
}

std::map<std::string, std::string> Sandbox::environment() const {
    return {
        {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        {"HOME", "/home/berth"},
        {"USER", "berth"},
        {"LOGNAME", "berth"},
        {"SHELL", "/bin/bash"},
        {"LANG", "C.UTF-8"},
    };
}

Result<process::ProcessId> Sandbox::ensure_holder() {
    const fs::path record = settings_.dir / "node" / "holder";
    if (const auto text = read_file(record)) {
        const auto id = process::ProcessId::parse(*text);
        if (id && id->alive()) return *id;
    }
    return start_holder();
}

Result<process::ProcessId> Sandbox::start_holder() {
    // A fence of a holder that is gone serves nobody.
    BERTH_TRY(destroy(settings_.dir));
    BERTH_ASSIGN(process::Pipe ready, process::make_pipe());
    BERTH_ASSIGN(process::Pipe recorded, process::make_pipe());
    BERTH_ASSIGN(process::Pipe complaint, process::make_pipe());
    process::SpawnSpec spec;
    spec.argv = {settings_.init.string(), "hold"};
    spec.env = std::vector<std::string>{};
    spec.cwd = "/";
    spec.stdin_fd = recorded.read.get();
    spec.stdout_fd = process::kNull;
    spec.stderr_fd = complaint.write.get();
    spec.fds = {{ready.write.get(), 3}};
    spec.new_session = true;
    BERTH_ASSIGN(process::Child child, process::spawn(spec));
    ready.write.reset();
    complaint.write.reset();
    char byte = 0;
    // The pipe ends when the holder dies, so this read always returns.
    if (::read(ready.read.get(), &byte, 1) != 1) {
        char words[256];
        const ssize_t got = ::read(complaint.read.get(), words, sizeof words);
        child.kill();
        return unavailable(
            "no_user_namespaces",
            "this host does not allow unprivileged user namespaces (" +
                std::string(words, static_cast<std::size_t>(got > 0 ? got : 0)) +
                "); machines of the local driver need unprivileged user namespaces, which a chroot "
                "or a default container forbids"
        );
    }
    if (settings_.network) {
        auto connected = fence(child.id());
        if (connected) connected = connect_network(child.id());
        if (!connected) {
            child.kill();
            return std::move(connected).error();
        }
    }
    // Recorded last: a holder without its fence must never be found by the next node agent. Until
    // it hears of its record the holder ends with us.
    BERTH_TRY(
        write_file_atomic(settings_.dir / "node" / "holder", child.id().to_text() + "\n", 0600)
    );
    if (::write(recorded.write.get(), "G", 1) != 1)
        return system_error("the namespaces' holder died", errno);
    return child.id();
}

Result<void> Sandbox::destroy(const std::filesystem::path& dir) {
    for (const char* name : {"pasta", "holder"}) {
        const fs::path record = dir / "node" / name;
        const auto text = read_file(record);
        if (!text) continue;
        const auto id = process::ProcessId::parse(*text);
        if (id && !id->end(kEndGrace))
            return unavailable("still_there", std::string(name) + " does not die");
        ::unlink(record.c_str());
    }
    return {};
}

}  // namespace berth::node
