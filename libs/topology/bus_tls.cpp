// SPDX-License-Identifier: Apache-2.0
// Certificates by the openssl program: it is wherever TLS is, and only a deployment with machines
// elsewhere runs it, twice in its life.
#include "topology/bus_tls.hpp"

#include <arpa/inet.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <csignal>

#include "core/fd.hpp"
#include "process/spawn.hpp"

namespace berth::topology {
namespace {

namespace fs = std::filesystem;

// The authority is pinned by each machine for that machine's life, and signs this one server.
constexpr const char* kLifeDays = "3650";
constexpr const char* kHalfLifeSeconds = "157680000";
constexpr std::size_t kMaxNames = 32;
constexpr std::size_t kMaxComplaint = 4096;
constexpr seconds kPatience{20};  // a P-256 key takes milliseconds

bool is_address(const std::string& name) {
    std::array<unsigned char, 16> bytes{};
    return ::inet_pton(AF_INET, name.c_str(), bytes.data()) == 1 ||
           ::inet_pton(AF_INET6, name.c_str(), bytes.data()) == 1;
}

bool is_host_name(const std::string& name) {
    if (name.empty() || name.size() > 253 || name.front() == '-' || name.front() == '.')
        return false;
    for (const char c : name) {
        if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-' && c != '.') return false;
    }
    return true;
}

/// The extensions of the server's certificate, which also tell whether it must be made anew.
Result<std::string> extensions_of(const BusTls& wanted) {
    if (wanted.names.empty() || wanted.names.size() > kMaxNames)
        return invalid("bad_option", "the bus needs 1 to 32 names", "names");
    std::string names = "DNS:localhost,IP:127.0.0.1";
    for (const std::string& name : wanted.names) {
        if (!is_address(name) && !is_host_name(name))
            return invalid("bad_option", "'" + name + "' is no host name and no address", "names");
        names += (is_address(name) ? ",IP:" : ",DNS:") + name;
    }
    return "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
           "extendedKeyUsage=serverAuth\nsubjectAltName=" +
           names + "\n";
}

Result<void> openssl(const fs::path& folder, std::vector<std::string> words) {
    if (!process::find_program("openssl"))
        return unavailable(
            "openssl_missing",
            "the bus's certificate is made by openssl, which is not installed; install the package "
            "openssl"
        );
    BERTH_ASSIGN(process::Pipe complaint, process::make_pipe());
    process::SpawnSpec spec;
    words.insert(words.begin(), "openssl");
    spec.argv = std::move(words);
    spec.cwd = folder.string();
    spec.stdin_fd = process::kNull;
    spec.stdout_fd = process::kNull;
    spec.stderr_fd = complaint.write.get();
    spec.death_signal = SIGKILL;
    BERTH_ASSIGN(process::Child child, process::spawn(spec));
    complaint.write.reset();
    // What it says fits a pipe, so it ends whether it is read or not.
    const auto end = child.wait(kPatience);
    if (!end) {
        child.kill();
        return internal("openssl_failed", "openssl did not end");
    }
    if (end->code == 0) return {};
    std::string text(kMaxComplaint, '\0');
    const ssize_t got = ::read(complaint.read.get(), text.data(), text.size());
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return internal("openssl_failed", "openssl " + spec.argv[1] + " failed: " + text);
}

/// Written under another name and moved, so that a crash leaves no half of a pair that is kept.
Result<void> move_into_place(const fs::path& folder, const std::string& name) {
    const fs::path made = folder / (name + ".new");
    std::error_code error;
    fs::permissions(made, fs::perms::owner_read | fs::perms::owner_write, error);
    if (!error) fs::rename(made, folder / name, error);
    if (error) return system_error("cannot write " + (folder / name).string(), error.value());
    return {};
}

bool there(const fs::path& path) {
    std::error_code error;
    return fs::is_regular_file(path, error);
}

Result<void> make_authority(const fs::path& folder) {
    if (there(folder / "ca.pem") && there(folder / "ca.key")) return {};
    BERTH_TRY(openssl(
        folder,
        {"req",
         "-x509",
         "-newkey",
         "ec",
         "-pkeyopt",
         "ec_paramgen_curve:P-256",
         "-noenc",
         "-keyout",
         "ca.key.new",
         "-out",
         "ca.pem.new",
         "-days",
         kLifeDays,
         "-subj",
         "/CN=Berth bus authority",
         "-addext",
         "basicConstraints=critical,CA:TRUE,pathlen:0",
         "-addext",
         "keyUsage=critical,keyCertSign"}
    ));
    BERTH_TRY(move_into_place(folder, "ca.key"));
    return move_into_place(folder, "ca.pem");
}

bool is_fresh(const fs::path& folder, const std::string& extensions) {
    const auto before = read_file(folder / "bus.ext");
    return before && *before == extensions && there(folder / "bus.key") &&
           openssl(folder, {"x509", "-in", "bus.pem", "-noout", "-checkend", kHalfLifeSeconds}) &&
           openssl(folder, {"verify", "-CAfile", "ca.pem", "bus.pem"});
}

Result<void> make_certificate(const fs::path& folder, const std::string& extensions) {
    if (is_fresh(folder, extensions)) return {};
    BERTH_TRY(write_file_atomic(folder / "bus.ext.new", extensions, 0600));
    BERTH_TRY(openssl(
        folder,
        {"req",
         "-newkey",
         "ec",
         "-pkeyopt",
         "ec_paramgen_curve:P-256",
         "-noenc",
         "-keyout",
         "bus.key.new",
         "-out",
         "bus.csr",
         "-subj",
         "/CN=Berth bus"}
    ));
    BERTH_TRY(openssl(
        folder,
        {"x509",
         "-req",
         "-in",
         "bus.csr",
         "-CA",
         "ca.pem",
         "-CAkey",
         "ca.key",
         "-days",
         kLifeDays,
         "-extfile",
         "bus.ext.new",
         "-out",
         "bus.pem.new"}
    ));
    BERTH_TRY(move_into_place(folder, "bus.key"));
    BERTH_TRY(move_into_place(folder, "bus.pem"));
    // Last: it says that the other two are whole.
    return move_into_place(folder, "bus.ext");
}

Result<BusCertificate> given(const BusTls& wanted) {
    if (wanted.cert_file.empty() || wanted.key_file.empty())
        return invalid("bad_option", "a certificate and its key go together", "cert_file");
    for (const fs::path& path : {wanted.cert_file, wanted.key_file, wanted.ca_file}) {
        if (!path.empty() && ::access(path.c_str(), R_OK) != 0)
            return invalid("bad_option", path.string() + " cannot be read", "cert_file");
    }
    return BusCertificate{
        fs::absolute(wanted.cert_file),
        fs::absolute(wanted.key_file),
        wanted.ca_file.empty() ? fs::path() : fs::absolute(wanted.ca_file)};
}

}  // namespace

Result<BusCertificate> prepare_certificate(const fs::path& folder, const BusTls& wanted) {
    BERTH_ASSIGN(const std::string extensions, extensions_of(wanted));
    if (!wanted.cert_file.empty() || !wanted.key_file.empty() || !wanted.ca_file.empty())
        return given(wanted);
    const fs::path whole = fs::absolute(folder);
    BERTH_TRY(make_authority(whole));
    BERTH_TRY(make_certificate(whole, extensions));
    return BusCertificate{whole / "bus.pem", whole / "bus.key", whole / "ca.pem"};
}

}  // namespace berth::topology
