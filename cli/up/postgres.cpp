// SPDX-License-Identifier: Apache-2.0
// Roles are made in single-user mode, before the server ever listens: no window without passwords,
// no client needed.
#include "cli/up/postgres.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <vector>

#include "cli/capture.hpp"
#include "core/fd.hpp"
#include "core/text.hpp"

namespace berth::cli::up {
namespace fs = std::filesystem;
namespace {

constexpr seconds kInitPatience{120};  // a slow disk
constexpr int kPort = 5432;            // only names the socket file
constexpr const char* kDatabase = "berth";
constexpr const char* kAdmin = "berth_admin";

// In PATH, or in the newest of Debian's folders, which are not in PATH.
Result<fs::path> find_binary(const std::string& name) {
    if (auto found = process::find_program(name)) return fs::path(*found);
    fs::path best;
    int best_version = 0;
    std::error_code ignored;
    for (const auto& folder : fs::directory_iterator("/usr/lib/postgresql", ignored)) {
        const std::string text = folder.path().filename().string();
        int version = 0;
        std::from_chars(text.data(), text.data() + text.size(), version);
        if (version > best_version && ::access((folder.path() / "bin" / name).c_str(), X_OK) == 0) {
            best = folder.path() / "bin" / name;
            best_version = version;
        }
    }
    if (best.empty())
        return unavailable(
            "postgres_missing",
            fmt::format("PostgreSQL's '{}' is not installed; install the package postgresql", name)
        );
    return best;
}

Result<void> checked(const char* what, Result<Captured> result) {
    if (!result) return std::move(result).error();
    // Single-user mode exits 0 whatever its statements did.
    const bool error = result->err.find("ERROR:") != std::string::npos ||
                       result->err.find("FATAL:") != std::string::npos;
    if (result->code == 0 && !error) return {};
    return unavailable("postgres_failed", fmt::format("{} failed: {}", what, result->err));
}

Result<void> single_user(
    const fs::path& postgres,
    const fs::path& cluster,
    const std::string& database,
    const std::string& sql
) {
    process::SpawnSpec spec;
    spec.argv = {
        postgres.string(),
        "--single",
        "-D",
        cluster.string(),
        "-c",
        "exit_on_error=true",
        database};
    return checked("creating PostgreSQL's roles", capture(std::move(spec), kInitPatience, sql));
}

// Which services have their role and schema; a deployment may learn of new ones later.
constexpr const char* kRolesFile = "berth-roles";

/// A role and a schema for each service that has none yet, bridges that do not run now too. The
/// server must not run. Every statement may be repeated.
Result<void> make_roles(const Layout& layout, const fs::path& postgres, const fs::path& cluster) {
    const std::string had = read_file(cluster / kRolesFile, 65'536).value_or("");
    std::string sql;
    std::string have = had;
    const auto add = [&](std::string_view token) -> Result<void> {
        if (("\n" + had).find(fmt::format("\n{}\n", token)) != std::string::npos) return {};
        BERTH_ASSIGN(const Secret password, kept_secret(layout, fmt::format("postgres-{}", token)));
        // Passwords are hexadecimal: nothing to quote. One line is one statement here.
        sql += fmt::format(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{0}') THEN CREATE "
            "ROLE "
            "\"{0}\" LOGIN; END IF; END $$\n"
            "ALTER ROLE \"{0}\" PASSWORD '{1}'\n"
            "GRANT CONNECT ON DATABASE {2} TO \"{0}\"\n"
            "ALTER ROLE \"{0}\" SET search_path = \"{0}\"\n"
            "CREATE SCHEMA IF NOT EXISTS \"{0}\" AUTHORIZATION \"{0}\"\n",
            token,
            password.reveal(),
            kDatabase
        );
        have += fmt::format("{}\n", token);
        return {};
    };
    for (const auto& service : kServices) BERTH_TRY(add(service.token));
    for (const auto& bridge : kBridges) BERTH_TRY(add(bridge.token));
    if (sql.empty()) return {};
    BERTH_TRY(single_user(postgres, cluster, kDatabase, sql));
    return write_file_atomic(cluster / kRolesFile, have, 0600);
}

Result<void> make_cluster(const Layout& layout, const fs::path& cluster) {
    BERTH_ASSIGN(const fs::path initdb, find_binary("initdb"));
    BERTH_ASSIGN(const fs::path postgres, find_binary("postgres"));
    BERTH_ASSIGN(const Secret admin, kept_secret(layout, "postgres-admin"));
    process::SpawnSpec spec;
    spec.argv = {
        initdb.string(),
        "--pgdata=" + cluster.string(),
        std::string("--username=") + kAdmin,
        "--auth=scram-sha-256",
        "--pwfile=" + (layout.etc() / "postgres-admin.secret").string(),
        "--encoding=UTF8",
        "--locale=C",
        "--no-instructions"};
    BERTH_TRY(checked("initdb", capture(std::move(spec), kInitPatience)));
    BERTH_TRY(single_user(
        postgres,
        cluster,
        "postgres",
        fmt::format(
            "CREATE DATABASE {}\nREVOKE ALL ON DATABASE {} FROM PUBLIC\n", kDatabase, kDatabase
        )
    ));
    BERTH_TRY(single_user(postgres, cluster, kDatabase, "REVOKE ALL ON SCHEMA public FROM PUBLIC\n")
    );
    return make_roles(layout, postgres, cluster);
}

// The postmaster tells its state in the eighth line of its pid file.
std::string not_ready(const fs::path& pid_file, pid_t pid) {
    const auto text = read_file(pid_file, 4096);
    if (!text) return "starting";
    const auto lines = split(*text, '\n');
    if (lines.size() < 8 || lines[0] != std::to_string(pid)) return "starting";
    return lines[7].starts_with("ready") ? "" : "recovering";
}

}  // namespace

Result<void> prepare_postgres(const Layout& layout) {
    std::error_code error;
    if (fs::exists(layout.postgres() / "PG_VERSION", error)) {
        BERTH_ASSIGN(const fs::path postgres, find_binary("postgres"));
        return make_roles(layout, postgres, layout.postgres());
    }
    const fs::path unfinished = layout.data / "postgres.new";
    fs::remove_all(unfinished, error);
    BERTH_TRY(make_cluster(layout, unfinished));
    fs::rename(unfinished, layout.postgres(), error);
    if (error)
        return system_error("cannot move the new PostgreSQL cluster into place", error.value());
    return {};
}

Result<PartSpec> postgres_part(const Layout& layout) {
    BERTH_ASSIGN(const fs::path postgres, find_binary("postgres"));
    PartSpec part;
    part.name = "postgres";
    part.log = layout.log() / "postgres.log";
    part.stop_signal = SIGINT;  // fast shutdown: sessions are ended, nothing is lost
    part.death_signal = SIGINT;
    part.stop_grace = seconds{20};
    const fs::path cluster = layout.postgres();
    const fs::path sockets = layout.run();
    part.make = [postgres, cluster, sockets]() -> Result<process::SpawnSpec> {
        process::SpawnSpec spec;
        spec.argv = {postgres.string(), "-D", cluster.string()};
        for (const std::string& setting : std::vector<std::string>{
                 "listen_addresses=",
                 "unix_socket_directories=" + sockets.string(),
                 "unix_socket_permissions=0700",
                 fmt::format("port={}", kPort),
                 "max_connections=200",
                 "shared_buffers=64MB",
                 "logging_collector=off",
                 "log_destination=stderr",
                 "cluster_name=berth"}) {
            spec.argv.push_back("-c");
            spec.argv.push_back(setting);
        }
        return spec;
    };
    part.not_ready = [pid_file = cluster / "postmaster.pid"](pid_t pid) {
        return not_ready(pid_file, pid);
    };
    return part;
}

Result<Secret> postgres_conninfo(const Layout& layout, std::string_view service) {
    BERTH_ASSIGN(const Secret password, kept_secret(layout, fmt::format("postgres-{}", service)));
    std::string folder;  // libpq: a value in quotes, ' and \ escaped
    for (const char c : layout.run().string()) {
        if (c == '\'' || c == '\\') folder += '\\';
        folder += c;
    }
    return Secret(fmt::format(
        "host='{}' port={} dbname={} user={} password={}",
        folder,
        kPort,
        kDatabase,
        service,
        password.reveal()
    ));
}

}  // namespace berth::cli::up
