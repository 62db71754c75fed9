// SPDX-License-Identifier: Apache-2.0
// The one table of commands and flags. docs/cli.md is printed from it.
#include "cli/commands.hpp"

#include "cli/args.hpp"

namespace berth::cli {
namespace {

constexpr std::size_t kAny =
    100000;  // operands of a command line; the kernel's own limit is below it

Flag data_flag() {
    return {
        "data",
        "dir",
        "The deployment's data folder (default: $XDG_DATA_HOME/berth; /var/lib/berth for root)"};
}
Flag lease_flag() {
    return {
        "lease",
        "lease",
        "Use this lease (id or name) and leave it as it is",
        '\0',
        false,
        "lease"};
}
Flag include_flag() {
    return {
        "include",
        "pattern",
        "Send these ignored files too, like 'build/*.json'",
        '\0',
        true,
        "sync.include"};
}
Flag junit_flag() {
    return {
        "junit",
        "pattern",
        "Test reports in JUnit XML, like 'reports/*.xml'",
        '\0',
        true,
        "results.junit"};
}
Flag artifact_flag() {
    return {
        "artifact",
        "pattern",
        "Files to fetch when the command has ended, like 'dist/**'",
        '\0',
        true,
        "results.artifacts"};
}
Flag wait_flag() {
    return {
        "wait", "duration", "Where the pool is exhausted, stand in line that long, like 10m", 'w'};
}
Flag env_flag() {
    return {
        "env",
        "name",
        "Forward this environment variable; an error where the profile's own list ('env') cuts it",
        'e',
        true};
}
Flag profile_flag() { return {"profile", "name", "The kind of machine", 'p', false, "profile"}; }

std::vector<Command> run_group() {
    return {
        {"run",
         "-- <command>...",
         "Run a command on a leased machine as if it ran here",
         "Leases a machine (or uses the one this working tree has), sends what changed, runs the\n"
         "command in the same folder, and streams stdin, stdout, stderr and signals. The exit code "
         "is\n"
         "the command's own. The first Ctrl-C interrupts the command, a second one cancels the "
         "run, a\n"
         "third leaves it running. With --json the command's output goes to stderr and the result "
         "to\n"
         "stdout.\n"
         "\n"
         "Reports and artifacts are fetched before the machine is given back, and kept for 'berth "
         "results'.",
         {profile_flag(),
          lease_flag(),
          {"keep", "", "Keep the lease for the next run instead of releasing it", 'k'},
          {"no-sync", "", "Do not send the working tree"},
          {"force-sync", "", "Send the working tree although a limit asks to stop"},
          include_flag(),
          {"tty", "", "Give the command a terminal", 't'},
          {"timeout", "duration", "End the command after this time, like 90s or 2h"},
          wait_flag(),
          env_flag(),
          junit_flag(),
          artifact_flag(),
          {"fail-on-test-failures",
           "",
           "Exit with 1 where a report names a failed test, cannot be read, or none is there"},
          {"result-file", "file", "Write the result as JSON to this file"},
          {"detach", "", "Start it, print its id and return", 'd'}},
         1,
         kAny,
         false,
         &run_run,
         "run"},
        {"shell",
         "",
         "Open a shell in the working tree on a leased machine",
         "Like 'berth run --tty' with the login shell: leases a machine (or uses the one this "
         "working\n"
         "tree has), sends what changed, and gives the machine back when the shell ends.",
         {profile_flag(),
          lease_flag(),
          {"keep", "", "Keep the lease instead of releasing it", 'k'},
          {"no-sync", "", "Do not send the working tree"},
          {"force-sync", "", "Send the working tree although a limit asks to stop"},
          wait_flag(),
          env_flag()},
         0,
         0,
         false,
         &run_shell},
        {"ssh",
         "[<lease>] [<command>...]",
         "Open a shell on a lease, or run a command there, as ssh would",
         "Never sends files, never makes or ends a lease. The first word is the lease; after '--' "
         "or with\n"
         "--lease all words are the command. Without a lease: the one of this working tree. The "
         "words are\n"
         "joined by blanks and read by sh on the machine, so quote what it is to read as one:\n"
         "\n"
         "    berth ssh calm-otter 'cd sub && ls *.log'\n"
         "    berth ssh -- ls sub\n"
         "\n"
         "No sshd and no open port is needed: the session travels over the gateway.",
         {lease_flag(), {"tty", "", "Give the command a terminal", 't'}, env_flag()},
         0,
         kAny,
         false,
         &run_ssh},
        {"attach",
         "<run>",
         "Follow a run: its output from the start, its input, its exit code",
         "",
         {{"offset", "bytes", "Begin at this byte of the output"}},
         1,
         1,
         false,
         &run_attach},
        {"logs",
         "<run>",
         "Print the output of a run",
         "As it is, so --json is refused.",
         {{"follow", "", "Wait for more until the run ends", 'f'},
          {"offset", "bytes", "Begin at this byte of the output"},
          {"stream", "name", "stdout, stderr or all (default: all)"}},
         1,
         1,
         false,
         &run_logs},
        {"runs",
         "",
         "List runs, the newest first",
         "",
         {{"lease", "lease", "Only those of this lease"},
          {"limit", "number", "At most so many (default: 20)"},
          {"cursor", "text", "Continue where the last page ended"}},
         0,
         0,
         false,
         &run_runs},
        {"history",
         "",
         "List the runs of this working tree, the newest first",
         "Runs of every lease this tree has had, also of those that ended long ago.",
         {{"lease", "lease", "Those of this lease instead", '\0', false, "lease"},
          {"limit", "number", "At most so many (default: 20)"}},
         0,
         0,
         false,
         &run_history},
        {"results",
         "[<run>]",
         "Show what a run's tests said, and its artifacts",
         "Without a run: the newest of this working tree. Shows what 'berth run' fetched; of other "
         "runs\n"
         "the files are fetched now, where the machine is still there.",
         {junit_flag(),
          artifact_flag(),
          {"fetch", "", "Fetch again, although something is kept"},
          {"download", "dir", "Copy the artifacts into this folder"}},
         0,
         1,
         false,
         &run_results},
        {"cancel",
         "<run>",
         "End a run: interrupt, then kill after a grace",
         "",
         {{"grace", "duration", "Time between interrupt and kill (default: 10s)"}},
         1,
         1,
         false,
         &run_cancel},
    };
}

std::vector<Command> lease_group() {
    return {
        {"warmup",
         "[-- <command>...]",
         "Lease a machine, send the working tree and keep it ready",
         "The next 'berth run --keep' of this tree starts at once. A command prepares the machine, "
         "like\n"
         "'berth warmup -- npm ci'; its exit code is the command's. Prints the lease's name.",
         {profile_flag(),
          wait_flag(),
          {"no-sync", "", "Do not send the working tree"},
          {"force-sync", "", "Send the working tree although a limit asks to stop"},
          env_flag()},
         0,
         kAny,
         false,
         &run_warmup,
         "machines"},
        {"lease",
         "",
         "Lease a machine for this working tree and keep it",
         "",
         {profile_flag(),
          {"ttl", "duration", "The longest it may live, like 2h"},
          {"idle-timeout", "duration", "End it after this long without use"},
          {"label", "text", "Your own mark (default: one per working tree)"},
          {"new", "", "A new machine even when this working tree has one"},
          wait_flag(),
          {"no-wait", "", "Return before the machine is ready"}},
         0,
         0,
         false,
         &run_lease},
        {"release",
         "[<lease>]",
         "Give a machine back",
         "Without a lease: the one of this working tree.",
         {},
         0,
         1,
         false,
         &run_release},
        {"leases",
         "",
         "List leases",
         "",
         {{"all", "", "Ended ones too", 'a'}},
         0,
         0,
         false,
         &run_leases},
        {"sync",
         "",
         "Send the working tree to the machine without running anything",
         "Tracked and untracked files arrive as they are, deleted ones are deleted, ignored ones "
         "stay\n"
         "untouched on both sides. A .berthignore (in the syntax of .gitignore) leaves out more.",
         {lease_flag(),
          include_flag(),
          {"force-sync",
           "",
           "Send although a limit asks to stop, and although nothing seems changed"}},
         0,
         0,
         false,
         &run_sync},
        {"share",
         "<lease> [<user>]",
         "Lend a lease to somebody of your org, or show to whom it is lent",
         "'use' may run and sync; 'manage' may also release and share. Again with another right "
         "changes it.",
         {{"right", "use|manage", "What the user may do (default: use)"}},
         1,
         2,
         false,
         &run_share},
        {"unshare",
         "<lease> <user>",
         "No longer lend a lease to somebody",
         "What the user runs on it by that share is canceled.",
         {},
         2,
         2,
         false,
         &run_unshare},
        {"profiles",
         "[list|show|set|remove] [<profile>] [<key=value>...]",
         "List the kinds of machines there are, or change one (admins)",
         "    berth profiles                          all; * is used where none is named (setting: "
         "profile)\n"
         "    berth profiles show big                 as berth.yaml and --file have it\n"
         "    berth profiles set big driver=docker image=debian memory=4GiB\n"
         "    berth profiles set big driver=hetzner types=cx22,cpx21\n"
         "    berth profiles set big --file big.yaml  replaced as a whole; its leases go on as "
         "they "
         "are\n"
         "    berth profiles remove big\n"
         "Those of the deployment's settings file (berth.yaml) are changed there.",
         {{"file", "file", "The keys, as below the profile's name in berth.yaml"}},
         0,
         40,
         false,
         &run_profiles},
        {"pool",
         "[<profile>]",
         "Show the machines of each profile: idle, leased, starting, draining",
         "",
         {{"machines", "", "Each machine instead of counts", 'm'},
          {"all", "", "Each machine, those that are gone too", 'a'}},
         0,
         1,
         false,
         &run_pool},
        {"drain",
         "[<profile>|<machine>]",
         "Take no new lease; machines go when they are free",
         "Idle machines go at once, leased ones after their lease. 'berth resume' undoes it. For "
         "admins.",
         {{"fleet", "", "Every profile"},
          {"reason", "text", "Shown in 'berth pool' and to those who are refused"},
          {"wait", "", "Return when the last machine is gone", 'w'}},
         0,
         1,
         false,
         &run_drain},
        {"resume",
         "[<profile>|<machine>|<halt>]",
         "Undo a drain, or end a halt",
         "A drain's end is for admins; a halt's for approvers and admins, and never for who "
         "pressed it.",
         {{"fleet", "", "The drain of every profile"}},
         0,
         1,
         false,
         &run_resume},
        {"usage",
         "",
         "Show machine time and money by month, owner and profile",
         "Your own; for admins the org's. Money is in the deployment's currency.",
         {{"from", "month", "First month, like 2026-01 (default: as --to, or this one)"},
          {"to", "month", "Last month (default: this one)"},
          {"owner", "user", "Only this owner's (admins)"}},
         0,
         0,
         false,
         &run_usage},
    };
}

std::vector<Command> deployment_group() {
    return {
        {"up",
         "",
         "Start Berth on this machine",
         "Starts a private PostgreSQL, NATS and the services, all on loopback and in one data "
         "folder,\n"
         "and stays in the foreground until Ctrl-C. Run as root it uses the system user 'berth'.",
         {{"detach", "", "Return when everything is ready and leave it running", 'd'},
          {"foreground", "", "Stay in the foreground (default)"},
          data_flag(),
          {"port", "number", "Port of the gateway on 127.0.0.1 (default: 7480)"},
          {"timeout", "duration", "How long to wait for readiness (default: 60s)"}},
         0,
         0,
         false,
         &run_up,
         "deployment"},
        {"down",
         "",
         "Stop what 'berth up' started",
         "Stops the services and the machines on this host. Leases stay live and keep their\n"
         "workspaces: the next 'berth up' starts their machines again. A machine with a run under\n"
         "way is left alone and named, since its run outlasts a restart of Berth.",
         {data_flag(),
          {"all", "", "End machines with runs under way too; those runs are lost", 'a'},
          {"timeout", "duration", "How long to wait before it is killed (default: 30s)"}},
         0,
         0,
         false,
         &run_down},
        {"status",
         "",
         "Show every part of the deployment and whether it is ready",
         "",
         {data_flag()},
         0,
         0,
         false,
         &run_status},
    };
}

std::vector<Command> account_group() {
    return {
        {"whoami",
         "",
         "Show who the gateway takes you for",
         "",
         {},
         0,
         0,
         false,
         &run_whoami,
         "account and more"},
        {"login",
         "",
         "Log in at a gateway",
         "With --github or --oidc, where the gateway offers it: shows a code to confirm in any "
         "browser.\n"
         "Without a flag: the one way there is. The token is stored for this gateway only, 0600; "
         "with\n"
         "--server that gateway becomes your default.",
         {{"github", "", "Sign in with GitHub"},
          {"oidc", "", "Sign in with the gateway's OpenID provider"},
          {"token-file", "file", "Read a token from this file"},
          {"token-stdin", "", "Read a token from stdin"}},
         0,
         0,
         false,
         &run_login},
        {"logout",
         "",
         "Revoke the stored token of a gateway and forget it",
         "",
         {},
         0,
         0,
         false,
         &run_logout},
        {"tokens",
         "[list|create|revoke] [<token>]",
         "List, make and revoke tokens",
         "    berth tokens                            your live tokens; for admins the org's\n"
         "    berth tokens create --label ci          prints the token's text, once\n"
         "    berth tokens create --user olga --role viewer --life 30d      for another (admins)\n"
         "    berth tokens revoke <token>",
         {{"user", "user", "Whose; with create: for whom, a new user with the roles given"},
          {"role", "role", "viewer, operator, approver or admin (default: the user's)", '\0', true},
          {"label", "text", "What it is for"},
          {"life", "duration", "It expires after that, like 12h or 30d"}},
         0,
         2,
         false,
         &run_tokens},
        {"users",
         "[list|add|set|disable|enable|link|unlink] [<user>] [github|oidc] [<id>]",
         "Manage who may do what (admins)",
         "    berth users                             everybody, with roles and sign-ins\n"
         "    berth users add olga --role operator\n"
         "    berth users set olga --role viewer --role approver      replaces the roles\n"
         "    berth users disable olga                her tokens stop working, and what they hold "
         "open\n"
         "                                            ends; her runs and leases go on (berth "
         "halt)\n"
         "    berth users enable olga                 undoes it\n"
         "    berth users link olga github 583231     lets that account sign in as olga\n"
         "    berth users unlink olga github",
         {{"role", "role", "viewer, operator, approver or admin", '\0', true}},
         0,
         4,
         false,
         &run_users},
        {"config",
         "",
         "Show every setting, its value and where it comes from",
         "",
         {},
         0,
         0,
         false,
         &run_config},
        {"doctor",
         "",
         "Check what Berth needs here and there, with a remedy for each fault",
         "Looks at the programs, the gateway, clock, token, services and versions; on the "
         "gateway's "
         "own\n"
         "host also at what the local driver needs. An admin is shown what differs between the\n"
         "provisioner's records and its providers. Exits 1 where something must be mended.",
         {},
         0,
         0,
         false,
         &run_doctor},
        {"completion",
         "bash|zsh|fish",
         "Print the completion script of a shell",
         "Put it where the shell reads it at its start:\n"
         "\n"
         "    bash    echo 'source <(berth completion bash)' >> ~/.bashrc\n"
         "    zsh     echo 'source <(berth completion zsh)' >> ~/.zshrc\n"
         "    fish    berth completion fish > ~/.config/fish/completions/berth.fish",
         {},
         1,
         1,
         false,
         &run_completion},
        {"man",
         "",
         "Print the manual page",
         "Read it with 'berth man | man -l -', or keep it as berth.1 in a man1 folder.",
         {},
         0,
         0,
         false,
         &run_man},
        {"version", "", "Print the version", "", {}, 0, 0, false, &run_version},
        {"help", "[<command>]", "Explain Berth or one command", "", {}, 0, 1, false, &run_help},
        {"__complete",
         "-- <word>...",
         "Print what may stand at the end of a command line",
         "",
         {},
         0,
         kAny,
         true,
         &run_complete},
        {"__docs", "", "Print docs/cli.md", "", {}, 0, 0, true, &run_docs},
        {"__rsync-transport",
         "-- <command>...",
         "Carry rsync's protocol to a lease",
         "",
         {},
         0,
         kAny,
         true,
         &run_rsync_transport},
    };
}

}  // namespace

const std::vector<Flag>& common_flags() {
    static const std::vector<Flag> kFlags = {
        {"server",
         "url",
         "The gateway, like http://127.0.0.1:7480 or unix:/path",
         '\0',
         false,
         "server"},
        {"json", "", "Print JSON instead of text"},
        {"quiet", "", "No progress on stderr", 'q'},
        {"help", "", "Explain this command", 'h'},
    };
    return kFlags;
}

const std::vector<Command>& commands() {
    static const std::vector<Command> kCommands = [] {
        std::vector<Command> all;
        for (auto group :
             {run_group(),
              lease_group(),
              guard_group(),
              policy_group(),
              events_group(),
              deployment_group(),
              account_group()}) {
            all.insert(all.end(), group.begin(), group.end());
        }
        return all;
    }();
    return kCommands;
}

}  // namespace berth::cli
