// SPDX-License-Identifier: Apache-2.0
// One deployment with a chat bridge shared by the tests of a program, and the words they use about
// it. The program is linked with its platform (tests/support/suite/<platform>_suite.cpp).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "support/has.hpp"
#include "support/suite/chat_suite.hpp"

namespace berth::testing {

class BridgeSystem : public ::testing::Test {
public:
    static void SetUpTestSuite() {
        chat_ = make_chat_suite();
        suite_ = &chat_->suite();
    }
    static void TearDownTestSuite() {
        if (!chat_) return;
        chat_->stop();
        EXPECT_EQ(chat_->fake().complaints(), "");
        chat_.reset();
    }

protected:
    /// What the bot says in a place from now on.
    class Watch {
    public:
        explicit Watch(Place place) : place_(std::move(place)) {
            for (const Seen& one : chat_->seen(place_)) before_.insert(one.id);
        }
        const Place& place() const { return place_; }
        std::vector<Seen> all() const {
            std::vector<Seen> out = chat_->seen(place_);
            std::erase_if(out, [&](const Seen& one) { return before_.count(one.id) > 0; });
            return out;
        }
        /// The newest message that holds `words`, and that button where one is named.
        Seen wait_for(
            const std::string& words,
            const std::string& button = {},
            milliseconds patience = seconds{90}
        ) const {
            Seen found;
            const bool came = eventually(
                [&] {
                    for (Seen& one : all()) {
                        if (has(one.text, words) && (button.empty() || has_button(one, button)))
                            found = std::move(one);
                    }
                    return !found.id.empty();
                },
                patience
            );
            EXPECT_TRUE(came) << "nobody said " << words << " " << button << "\n"
                              << told() << suite_->logs();
            return found;
        }
        /// How many messages hold `words`.
        std::size_t count(const std::string& words) const {
            const auto now = all();
            return static_cast<std::size_t>(std::count_if(
                now.begin(), now.end(), [&](const Seen& one) { return has(one.text, words); }
            ));
        }
        /// As `id` stands there now.
        Seen look(const std::string& id) const {
            for (Seen& one : all()) {
                if (one.id == id) return one;
            }
            return {};
        }
        std::string told() const {
            std::string out;
            for (const Seen& one : all()) out += one.text + "\n";
            return out;
        }

    private:
        static bool has_button(const Seen& seen, const std::string& label) {
            return std::find(seen.buttons.begin(), seen.buttons.end(), label) != seen.buttons.end();
        }
        Place place_;
        std::set<std::string> before_;
    };

    static Watch home() { return Watch(chat_->home()); }
    static Watch approvals() { return Watch(chat_->approvals()); }
    static void say(const Watch& where, const std::string& text, const char* person = "ann") {
        chat_->say(person, where.place(), text);
    }
    static void click(
        const Watch& where, const Seen& card, const std::string& button, const char* person
    ) {
        chat_->click(person, where.place(), card, button);
    }
    /// The id that begins so in what was seen.
    static std::string id_in(const Seen& seen, const std::string& kind) {
        const auto at = seen.text.find(kind + "_");
        if (at == std::string::npos) return {};
        return seen.text.substr(
            at, seen.text.find_first_not_of(kIdLetters, at + kind.size() + 1) - at
        );
    }
    /// The machine of the conversation goes back, so that the next test has a fresh one.
    static void release(const Watch& where) {
        say(where, "release");
        (void)where.wait_for("is released");
    }
    /// False where it is being started again just now.
    static bool kill(const std::string& part) {
        const pid_t pid = suite_->pid(part);
        return pid > 0 && ::kill(pid, SIGKILL) == 0;
    }
    /// How often each number was answered there, in the order of the answers.
    static std::vector<int> numbers(const std::vector<Seen>& all) {
        std::vector<int> out;
        for (const Seen& one : all) {
            const auto at = one.words.find("nonsense");
            if (at != std::string::npos) out.push_back(std::atoi(one.words.c_str() + at + 8));
        }
        return out;
    }

    static constexpr const char* kIdLetters =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijkl"
        "mnopqrstuvwxyz";
    static inline std::unique_ptr<ChatSuite> chat_;
    static inline Suite* suite_ = nullptr;  ///< chat_'s
};

/// A number of the environment, for soaks.
inline std::uint64_t number_of(const char* name, std::uint64_t usual) {
    const char* const text = std::getenv(name);
    return text == nullptr ? usual : std::strtoull(text, nullptr, 10);
}

}  // namespace berth::testing
