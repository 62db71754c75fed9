// SPDX-License-Identifier: Apache-2.0
// The whole suite with a chat bridge on the fake of its platform, in words that are the same for
// every platform. A platform is one file beside this one.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "core/random.hpp"
#include "support/fakes/fake_process.hpp"
#include "support/secret_folder.hpp"
#include "support/suite/suite.hpp"

namespace berth::testing {

/// Where people and the bot talk, in the platform's own words.
struct Place {
    std::string chat;
    std::string thread;
};

/// A message of the bot as it stands there now.
struct Seen {
    std::string id;
    std::string text;   ///< JSON of all that people see of it, attached files too
    std::string words;  ///< the plain text, where it is no card
    std::vector<std::string> buttons;
    Json raw;  ///< as the fake shows it
};

/// A deployment where a person has to allow each uname, and each uptime within three seconds. Ann
/// is the admin, olga an approver. Not thread-safe. Throws where something does not come up.
class ChatSuite {
public:
    virtual ~ChatSuite() = default;
    ChatSuite(const ChatSuite&) = delete;
    ChatSuite& operator=(const ChatSuite&) = delete;

    FakeProcess& fake() { return fake_; }
    Suite& suite() { return *suite_; }
    void stop() { suite_.reset(); }
    const std::string& platform() const { return platform_; }

    /// Where ann works; a thread or topic where the platform has such.
    virtual Place home() = 0;
    /// Where every approval is asked.
    virtual Place approvals() = 0;
    /// `person` (ann or olga) says `text` to the bot: a verb and what follows it, or anything.
    virtual void say(const std::string& person, const Place& place, const std::string& text) = 0;
    /// The bot's messages in the order in which they were posted, also those for one person alone.
    virtual std::vector<Seen> seen(const Place& place) = 0;
    /// Presses a button that stands there.
    virtual void click(
        const std::string& person, const Place& place, const Seen& card, const std::string& button
    ) = 0;
    /// Whoever pressed "Deny with comment" says why: in the dialog, or in the chat.
    virtual void comment(
        const std::string& person, const Place& place, const Seen& card, const std::string& text
    ) = 0;
    /// The platform takes the bot's token no more; and takes it again.
    virtual void revoke() = 0;
    virtual void restore() = 0;
    /// What the platform says about a token it does not take.
    virtual std::string revoked_words() const = 0;
    virtual std::vector<std::string> secrets() const = 0;
    /// Places where ann may talk, enough for so many messages.
    virtual std::vector<Place> conversations(std::size_t messages) = 0;
    /// The connection breaks, or the platform's answers fail for a while.
    virtual void disturb(Random& random) = 0;
    /// The platform answers the next two posts with a 429 that asks for two seconds (where it asks
    /// for any); a bridge that comes earlier is among the fake's complaints.
    virtual void limit() = 0;
    /// False: what a card came to is a new message (WhatsApp).
    virtual bool edits() const { return true; }
    /// False: a post that the bridge did not live to see may go out a second time.
    virtual bool can_find() const { return true; }

protected:
    /// The fake first, which the bridge's settings name.
    ChatSuite(std::string platform, const std::vector<std::string>& arguments)
        : platform_(std::move(platform)), fake_(platform_, arguments) {}
    /// `bridge`: the lines of the bridge's settings, indented by two.
    void start(const std::string& bridge);
    /// The path of a file with this secret.
    std::string secret(const std::string& name, const std::string& text) const {
        return secrets_.file(name, text);
    }
    /// POST /_fake/<what>, where ' stands for ".
    Json tell(const std::string& what, std::string body);
    /// A user beside ann, the admin: `berth` speaks as they do where `person` is their name.
    void add_user(const std::string& name, const std::string& role);
    /// `person` becomes known to the bot from what they say there.
    void pair(const std::string& person, const Place& place);
    /// The buttons' labels in a list of texts.
    static std::vector<std::string> labels(const Json* list);

private:
    std::string pairing_code(const std::string& person);
    http::Response api(const char* method, const char* path, const std::string& body);

    const std::string platform_;
    FakeProcess fake_;
    SecretFolder secrets_;
    std::unique_ptr<Suite> suite_;
    /// What makes `berth` speak as a user.
    std::map<std::string, std::map<std::string, std::string>> environments_;
};

/// The platform's, which the program is linked with.
std::unique_ptr<ChatSuite> make_chat_suite();

}  // namespace berth::testing
