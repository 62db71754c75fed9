// SPDX-License-Identifier: Apache-2.0
// What is known of programs and variables, whatever a policy says: who runs anything it is told,
// and what changes how other programs behave.
#include <algorithm>
#include <cctype>
#include <iterator>
#include <optional>

#include "policy/glob.hpp"
#include "policy/policy.hpp"
#include "policy/rule.hpp"

namespace berth::policy {
namespace {

bool is_loader(std::string_view name) {
    return glob_matches("ld-*.so*", name) || glob_matches("ld.so*", name) ||
           glob_matches("ld64.so*", name) || glob_matches("ld-linux*", name);
}

}  // namespace

std::string_view detail::without_version(std::string_view name) {
    const auto last = name.find_last_not_of("0123456789.-");
    return last == std::string_view::npos ? name : name.substr(0, last + 1);
}

bool detail::is_of_many(std::string_view name) {
    return name.starts_with("busybox") || name.starts_with("toybox") || name == "coreutils";
}

/// Busybox and its like are what their first argument says, or the one after their own name.
void detail::find_applet(
    std::string_view executable,
    const std::vector<std::string>& argv,
    std::string_view& applet,
    std::size_t& first
) {
    const std::string_view program = basename(executable);
    if (!is_of_many(program)) return;
    constexpr std::string_view kOption = "--coreutils-prog=";
    constexpr std::string_view kShebang = "--coreutils-prog-shebang=";
    // Whatever it calls itself; behind the second form comes the script's own name.
    const std::string_view told =
        program == "coreutils" && argv.size() > 1 ? std::string_view(argv[1]) : std::string_view();
    for (const auto option : {kOption, kShebang}) {
        if (!told.starts_with(option)) continue;
        applet = told.substr(option.size());
        first = option == kShebang ? 3 : 2;
        return;
    }
    for (std::size_t at = 0; at < argv.size(); ++at) {
        std::string_view name = basename(argv[at]);
        // A login shell's name begins with a dash; an option's is nobody's.
        if (at == 0 && name.starts_with('-')) name.remove_prefix(1);
        if (name.starts_with('-')) return;
        if (is_of_many(name)) continue;
        applet = name;
        first = at + 1;
        return;
    }
}

std::string_view unusual(const Plan& plan) {
    constexpr std::string_view kDeleted = " (deleted)";
    const std::string_view path = plan.executable.path;
    if (path.substr(0, 7) == "/memfd:" || path.substr(0, 6) == "memfd:") return "memfd";
    if (path.size() > kDeleted.size() && path.substr(path.size() - kDeleted.size()) == kDeleted)
        return "deleted";
    return is_loader(basename(path)) ? "loader" : "";
}

const std::vector<std::string>& dangerous_variables() {
    // What a build tool sets for each of its children in the ordinary course (MAKEFLAGS,
    // GIT_EDITOR, GIT_DIR, EDITOR, PATH, npm_config_userconfig) is not here: the programs it names
    // are judged when they start.
    static const std::vector<std::string> kNames = {
        // the loader and the C library
        "LD_*",
        "_RLD*",
        "GCONV_PATH",
        "GLIBC_TUNABLES",
        "LOCPATH",
        "NLSPATH",
        "HOSTALIASES",
        "RES_OPTIONS",
        "LOCALDOMAIN",
        "GETCONF_DIR",
        "MALLOC_TRACE",
        // shells
        "BASH_ENV",
        "ENV",
        "BASH_FUNC_*",
        "BASHOPTS",
        "BASH_LOADABLES_PATH",
        "SHELLOPTS",
        "PS4",
        "PROMPT_COMMAND",
        "GLOBIGNORE",
        "IFS",
        "ZDOTDIR",
        "FPATH",
        "NULLCMD",
        "READNULLCMD",
        // interpreters
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "PYTHONINSPECT",
        "PYTHONUSERBASE",
        "PYTHONBREAKPOINT",
        "PYTHONEXECUTABLE",
        "PYTHONPLATLIBDIR",
        "PYTHONPYCACHEPREFIX",
        "PYTHONWARNINGS",
        "IPYTHONDIR",
        "PYTEST_ADDOPTS",
        "PYTEST_PLUGINS",
        "PERL5LIB",
        "PERLLIB",
        "PERL5OPT",
        "PERL5DB",
        "PERLIO_DEBUG",
        "HARNESS_PERL_SWITCHES",
        "RUBYLIB",
        "RUBYOPT",
        "RUBYPATH",
        "RUBYSHELL",
        "GEM_HOME",
        "GEM_PATH",
        "BUNDLE_GEMFILE",
        "NODE_OPTIONS",
        "NODE_PATH",
        "NODE_REPL_EXTERNAL_MODULE",
        "ELECTRON_RUN_AS_NODE",
        "BUN_OPTIONS",
        "DENO_DIR",
        "TS_NODE_COMPILER",
        "npm_config_node_options",
        "npm_config_script_shell",
        "NPM_CONFIG_NODE_OPTIONS",
        "NPM_CONFIG_SCRIPT_SHELL",
        "LUA_INIT*",
        "LUA_PATH*",
        "LUA_CPATH*",
        "PHPRC",
        "PHP_INI_SCAN_DIR",
        "TCLLIBPATH",
        "TCL_LIBRARY",
        "TK_LIBRARY",
        "AWKPATH",
        "AWKLIBPATH",
        "JULIA_LOAD_PATH",
        "JULIA_DEPOT_PATH",
        "ERL_FLAGS",
        "ERL_AFLAGS",
        "ERL_ZFLAGS",
        "ERL_LIBS",
        "ELIXIR_ERL_OPTIONS",
        "GUILE_LOAD_PATH",
        "GUILE_LOAD_COMPILED_PATH",
        "PLTADDONDIR",
        "PLTCOLLECTS",
        "CAML_LD_LIBRARY_PATH",
        "R_PROFILE*",
        "R_ENVIRON*",
        "JAVA_TOOL_OPTIONS",
        "_JAVA_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "CLASSPATH",
        "JAVA_OPTS",
        "MAVEN_OPTS",
        "MAVEN_ARGS",
        "GRADLE_OPTS",
        "ANT_OPTS",
        "ANT_ARGS",
        "SBT_OPTS",
        "DOTNET_STARTUP_HOOKS",
        "CORECLR_PROFILER*",
        "CORECLR_ENABLE_PROFILING",
        "COR_PROFILER*",
        "COR_ENABLE_PROFILING",
        "DOTNET_ADDITIONAL_DEPS",
        "DOTNET_SHARED_STORE",
        "MONO_ENV_OPTIONS",
        "MONO_PATH",
        // libraries that load modules
        "GTK_MODULES",
        "GTK_PATH",
        "GIO_EXTRA_MODULES",
        "GIO_MODULE_DIR",
        "GDK_PIXBUF_MODULE_FILE",
        "QT_PLUGIN_PATH",
        "GST_PLUGIN_PATH*",
        "GST_PLUGIN_SYSTEM_PATH*",
        "LIBMYSQL_PLUGINS",
        "LIBMYSQL_PLUGIN_DIR",
        "SASL_PATH",
        "VK_LAYER_PATH",
        // tools that run what a variable names
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_ASKPASS",
        "GIT_PROXY_COMMAND",
        "GIT_EXTERNAL_DIFF",
        "GIT_EXEC_PATH",
        "GIT_TEMPLATE_DIR",
        "GIT_SEQUENCE_EDITOR",
        "GIT_CONFIG",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_SYSTEM",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_KEY_*",
        "GIT_CONFIG_VALUE_*",
        "GIT_CONFIG_PARAMETERS",
        "SSH_ASKPASS",
        "SUDO_ASKPASS",
        "RSYNC_RSH",
        "CVS_RSH",
        "SVN_SSH",
        "HGRCPATH",
        "LESSOPEN",
        "LESSCLOSE",
        "LESSKEY*",
        "VIMINIT",
        "GVIMINIT",
        "EXINIT",
        "EMACSLOADPATH",
        "PSQLRC",
        "MAKEFILES",
        "GNUMAKEFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_RUSTC*",
        "GOENV",
        "GOFLAGS",
        // arguments and settings that no rule sees
        "ANSIBLE_CONFIG",
        "ANSIBLE_LIBRARY",
        "CURL_HOME",
        "RIPGREP_CONFIG_PATH",
        "TAR_OPTIONS",
        "TF_CLI_ARGS*",
        "TF_CLI_CONFIG_FILE",
        "WGETRC",
        "OPENSSL_CONF",
        "OPENSSL_MODULES",
        "OPENSSL_ENGINES",
        "TERMINFO",
        "TERMINFO_DIRS",
        "TERMCAP",
    };
    return kNames;
}

bool name_matches(const std::vector<std::string>& names, std::string_view name) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& pattern) {
        if (pattern.empty() || pattern.back() != '*') return pattern == name;
        const auto prefix = std::string_view(pattern).substr(0, pattern.size() - 1);
        return name.substr(0, prefix.size()) == prefix;
    });
}

namespace {

/// A word as git quotes it, at the beginning of `text`, which then begins behind it.
std::optional<std::string> take_quoted(std::string_view& text) {
    if (text.empty() || text.front() != '\'') return std::nullopt;
    std::string word;
    for (text.remove_prefix(1); !text.empty();) {
        const char next = text.front();
        text.remove_prefix(1);
        if (next != '\'') {
            word += next;
        } else if (text.substr(0, 3) == "\\''" || text.substr(0, 3) == "\\!'") {
            word += text[1];
            text.remove_prefix(3);
        } else {
            return word;
        }
    }
    return std::nullopt;
}

bool is_plain_git_setting(std::string key) {
    constexpr std::string_view kPlain[] = {
        "advice.",       "author.",          "color.",        "column.",
        "committer.",    "core.abbrev",      "core.autocrlf", "core.eol",
        "core.filemode", "core.quotepath",   "core.safecrlf", "fetch.parallel",
        "fetch.prune",   "gc.auto",          "index.threads", "init.defaultbranch",
        "log.",          "maintenance.auto", "pack.threads",  "protocol.version",
        "pull.ff",       "pull.rebase",      "status.",       "user.email",
        "user.name",
    };
    std::transform(key.begin(), key.end(), key.begin(), [](unsigned char c) {
        return static_cast<char>(std::tolower(c));
    });
    return std::any_of(std::begin(kPlain), std::end(kPlain), [&](std::string_view plain) {
        return plain.back() == '.' ? key.starts_with(plain) : key == plain;
    });
}

/// What git hands on of its -c: 'key'='value', or 'key=value' by older ones, parted by blanks.
bool has_plain_git_settings(std::string_view settings) {
    while (!settings.empty()) {
        auto key = take_quoted(settings);
        if (!key) return false;
        if (settings.substr(0, 1) == "=") {
            settings.remove_prefix(1);
            if (settings.substr(0, 1) == "'" && !take_quoted(settings)) return false;
        } else {
            key->resize(std::min(key->find('='), key->size()));
        }
        if (!is_plain_git_setting(std::move(*key))) return false;
        if (!settings.empty() && settings.front() != ' ') return false;
        settings.remove_prefix(std::min(settings.find_first_not_of(' '), settings.size()));
    }
    return true;
}

}  // namespace

bool is_ordinary_value(std::string_view name, std::string_view value) {
    if (name == "GIT_EXEC_PATH")
        // Where systems have it: no run writes there.
        return value == "/usr/lib/git-core" || value == "/usr/libexec/git-core" ||
               value == "/usr/local/libexec/git-core";
    return name == "GIT_CONFIG_PARAMETERS" && has_plain_git_settings(value);
}

bool is_dangerous_variable(std::string_view name) {
    return name_matches(dangerous_variables(), name);
}

bool is_wrapper(std::string_view executable) {
    static constexpr std::string_view kNames[] = {
        "busybox",
        "toybox",
        // programs whose arguments are another program
        "capsh",
        "chpst",
        "chroot",
        "chrt",
        "cpulimit",
        "daemonize",
        "dbus-run-session",
        "doas",
        "entr",
        "env",
        "fakeroot",
        "faketime",
        "find",
        "firejail",
        "flock",
        "gdb",
        "ionice",
        "jexec",
        "lldb",
        "ltrace",
        "make",
        "gmake",
        "nice",
        "nohup",
        "npx",
        "nsenter",
        "numactl",
        "parallel",
        "perf",
        "pkexec",
        "pnpx",
        "prlimit",
        "proot",
        "qemu-x86_64",
        "rlwrap",
        "run-parts",
        "runcon",
        "runuser",
        "script",
        "setarch",
        "setpriv",
        "setsid",
        "setuidgid",
        "sg",
        "socat",
        "softlimit",
        "ssh",
        "sshpass",
        "start-stop-daemon",
        "stdbuf",
        "strace",
        "su",
        "sudo",
        "systemd-run",
        "taskset",
        "time",
        "timeout",
        "tini",
        "tmux",
        "screen",
        "unbuffer",
        "unshare",
        "uvx",
        "valgrind",
        "watch",
        "wine",
        "xargs",
        "xvfb-run",
        // editors and pagers that run commands
        "ed",
        "emacs",
        "ex",
        "less",
        "more",
        "nvim",
        "vi",
        "view",
        "vim",
    };
    const auto known = [](std::string_view name) {
        return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
    };
    const std::string_view name = basename(executable);
    return is_interpreter(name) || known(name) || known(detail::without_version(name)) ||
           is_loader(name);
}

std::string_view to_string(Action action) {
    switch (action) {
        case Action::kAllow: return "allow";
        case Action::kAsk: return "ask";
        case Action::kDeny: break;
    }
    return "deny";
}

std::string_view to_string(Level level) {
    switch (level) {
        case Level::kObserve: return "observe";
        case Level::kShim: return "shim";
        case Level::kEnforce: return "enforce";
        case Level::kNone: break;
    }
    return "none";
}

std::optional<Level> level_of(std::string_view name) {
    for (const auto level : {Level::kNone, Level::kObserve, Level::kShim, Level::kEnforce}) {
        if (to_string(level) == name) return level;
    }
    return std::nullopt;
}

}  // namespace berth::policy
