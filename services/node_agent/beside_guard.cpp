// SPDX-License-Identifier: Apache-2.0
// The loop of a guard beside: words of the run's supervisor, the first command, tracees, shims.
#include "node_agent/beside_guard.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "node_agent/guard.hpp"
#include "node_agent/init_link.hpp"
#include "node_agent/init_protocol.hpp"
#include "node_agent/shim_protocol.hpp"

namespace berth::node {
namespace {

constexpr int kFirstWordMs = 5'000;            // the supervisor says it before it hands over
constexpr milliseconds kShortLook{2};          // whether the tree is gone, or a full socket is not
constexpr milliseconds kLeavePatience{4'000};  // below what berth-init waits for this process

/// Reads files as the commands' user, who may read what it executes; keeps what tracing takes and
/// what no command can take from it: its own uid.
Result<void> give_up_rights(uid_t owner) {
    (void)::setfsgid(owner);
    (void)::setfsuid(owner);
    if (::setfsuid(owner) != static_cast<int>(owner))
        return internal("bad_guard", "files cannot be read as the machine's user");
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2] = {};
    data[0].permitted = data[0].effective = (1U << CAP_KILL) | (1U << CAP_SYS_PTRACE);
    if (::syscall(SYS_capset, &header, data) != 0)
        return system_error(
            "this container was made without the right to trace; the machine's "
            "next lease has it",
            errno
        );
    ::prctl(PR_SET_DUMPABLE, 0);
    return {};
}

class BesideGuard final : private GuardHost {
public:
    explicit BesideGuard(uid_t owner) : owner_(owner) {}
    Result<void> begin();
    void loop();
    void fail(const std::string& why) { tell_user(why + "\n"); }

private:
    bool send_word(const RunWord& word) override {
        if (!words_) return false;
        const SendResult result = node::send_word(words_.get(), word);
        full_ = full_ || result == SendResult::kFull;
        return result == SendResult::kSent;
    }
    bool has_listener() const override { return static_cast<bool>(words_); }
    void on_child(pid_t, int) override {}
    void tell_user(const std::string& line) override {
        (void)send_word({Word::kTrouble, 0, 0, 0, 0, line});
    }
    void on_command_ended(const std::string& why) override {
        (void)send_word({Word::kTrouble, 1, 0, 0, 0, why});
    }
    Result<Launch> read_launch();
    Result<void> make_tools();
    void read_words();
    void read_init();
    int timeout() const;
    bool gone() const;

    const uid_t owner_;
    Fd words_{kInitControlFd};
    Fd init_{kBesideInitFd};
    std::unique_ptr<Guard> guard_;
    std::optional<Guarding::Time> leave_by_;
    bool traces_ = true;  ///< else its shims ask
    bool full_ = false;   ///< the supervisor's socket did not take a word
    char buffer_[kWordBytes];
};

/// The image's own environment holds where the run says nothing else, as berth-init has it.
void add_environment(std::vector<std::string>& to) {
    for (char** entry = ::environ; *entry != nullptr; ++entry) {
        const std::string text = *entry;
        const std::string name = text.substr(0, text.find('=') + 1);
        const bool known = std::any_of(to.begin(), to.end(), [&](const std::string& one) {
            return one.starts_with(name);
        });
        if (!known) to.push_back(text);
    }
    for (std::string& entry : to) {
        if (entry.starts_with("PATH=")) entry.insert(5, std::string(kShimTools) + ":");
    }
}

Result<Launch> BesideGuard::read_launch() {
    pollfd wait{words_.get(), POLLIN, 0};
    bool closed = false;
    if (::poll(&wait, 1, kFirstWordMs) != 1)
        return internal("no_word", "the run's supervisor says nothing");
    const auto word = receive_word(words_.get(), buffer_, sizeof buffer_, closed);
    if (!word) return internal("no_word", "the run's supervisor is gone");
    const std::string folder(word->data);
    BERTH_ASSIGN(const std::string bytes, read_file(folder + "/launch"));
    BERTH_ASSIGN(Launch launch, Launch::decode(bytes));
    launch.guard.beside_inside = folder;
    return launch;
}

Result<void> BesideGuard::begin() {
    ::fcntl(words_.get(), F_SETFL, O_NONBLOCK);
    for (const int fd : {kInitControlFd, kBesideInitFd, kBesideShimsFd})
        ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    BERTH_ASSIGN(Launch launch, read_launch());
    traces_ = launch.guard.level != "shim";
    if (!traces_) add_environment(launch.env);
    guard_ = std::make_unique<Guard>(
        launch,
        Guard::Keeping{launch.guard.beside_inside, owner_, kSharedMode},
        static_cast<GuardHost&>(*this)
    );
    BERTH_TRY(guard_->prepare(Fd(kBesideShimsFd)));
    return traces_ ? Result<void>() : make_tools();
}

/// One name per tool that the policy speaks of, each leading to the shim. What an earlier policy
/// spoke of stays: it is judged all the same.
Result<void> BesideGuard::make_tools() {
    const std::string folder = std::string(kShimFolder) + "/tools";
    if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST)
        return system_error("cannot create " + folder, errno);
    for (const std::string& tool : guard_->tools()) {
        if (tool.empty() || tool.find('/') != std::string::npos) continue;
        if (::symlink(kShimProgram, (folder + "/" + tool).c_str()) != 0 && errno != EEXIST)
            return system_error("cannot create a shim for " + tool, errno);
    }
    return {};
}

void BesideGuard::read_words() {
    while (words_) {
        bool closed = false;
        const auto word = receive_word(words_.get(), buffer_, sizeof buffer_, closed);
        // berth-init hears of the supervisor's end, too, and ends the run.
        if (closed) words_.reset();
        if (!word) return;
        if (word->word == Word::kGreet)
            guard_->greet();
        else
            (void)guard_->on_word(*word);
    }
}

void BesideGuard::read_init() {
    for (;;) {
        InitReport report;
        switch (receive_report(init_.get(), report)) {
            case InitRead::kNothing: return;
            case InitRead::kGone:
                init_.reset();
                leave_by_ = std::chrono::steady_clock::now() + kLeavePatience;
                return;
            case InitRead::kMessage:
                if (report.message.kind != kInitTraceMe || !report.passed) break;
                if (const auto seized = traces_ ? guard_->seize(report.sender) : Result<void>();
                    !seized)
                    fail(seized.error().message);
                else
                    (void)!::write(report.passed.get(), "G", 1);
        }
    }
}

int BesideGuard::timeout() const {
    auto next = guard_->next_timer();
    const auto now = std::chrono::steady_clock::now();
    if ((leave_by_ || full_) && (!next || *next > now + kShortLook)) next = now + kShortLook;
    if (!next) return -1;
    const auto left = std::chrono::ceil<milliseconds>(*next - now).count();
    return static_cast<int>(std::clamp<long long>(left, 0, 60'000));
}

bool BesideGuard::gone() const {
    return leave_by_ && (guard_->living() == 0 || std::chrono::steady_clock::now() > *leave_by_);
}

void BesideGuard::loop() {
    while (!gone()) {
        pollfd set[3] = {
            {words_.get(), POLLIN, 0}, {init_.get(), POLLIN, 0}, {guard_->descriptor(), POLLIN, 0}};
        if (guard_->poll(set, 3, timeout()) < 0 && errno != EINTR) return;
        if (set[1].revents != 0) read_init();
        if (set[2].revents != 0) guard_->on_input();
        if (set[0].revents != 0) read_words();
        guard_->on_timers();
        full_ = false;
        guard_->tell();
    }
    guard_->tell();
}

}  // namespace

int guard_beside(uid_t owner) {
    ::signal(SIGPIPE, SIG_IGN);
    ::prctl(PR_SET_NAME, "berth-guard");
    ::umask(0);  // see kSharedMode
    BesideGuard guard(owner);
    auto begun = guard.begin();
    if (begun) begun = give_up_rights(owner);
    if (!begun) {
        guard.fail("the command cannot be guarded: " + begun.error().message);
        return 1;
    }
    guard.loop();
    return 0;
}

}  // namespace berth::node
