// SPDX-License-Identifier: Apache-2.0
// The part of the table of commands about who else hears: events, their readers, webhooks, chat.
#include "cli/args.hpp"
#include "cli/commands.hpp"

namespace berth::cli {

std::vector<Command> events_group() {
    return {
        {"events",
         "[tail|replay|credentials|readers|revoke] [<name>]",
         "Print what happens as it happens, or let a program read it from the bus",
         "    berth events                            as it happens, one JSON object a line\n"
         "    berth events replay --from 1            what is stored, then return\n"
         "    berth events credentials --name ci --output ci.creds    for admins: a NATS "
         "credential\n"
         "                                            that reads the org's events and nothing "
         "else;\n"
         "                                            without --name in your own name\n"
         "    berth events readers                    who has one\n"
         "    berth events revoke ci                  its durable goes; credentials end when they "
         "end\n"
         "A connection that is lost is made anew behind the last event; --from takes the "
         "'sequence'\n"
         "after the last one that was seen, which the end says on stderr.\n"
         "The same name again gives a new credential to the same reader, which keeps its place.\n"
         "docs/events.md describes every event.",
         {{"subject", "pattern", "Only these, like berth.evt.default.run.>"},
          {"from",
           "sequence",
           "Begin at this sequence instead of now; 0: at the first that is stored"},
          {"name", "name", "With credentials: the reader's (default: your user's)"},
          {"org", "org", "Yours, said to be sure: any other is refused"},
          {"life", "duration", "With credentials: they end after that, 30d at most (default: 24h)"},
          {"output",
           "file",
           "With credentials: write them to this file, 0600, instead of stdout",
           'o'}},
         0,
         2,
         false,
         &run_events,
         "events and chat"},
        {"webhooks",
         "[list|show|add|set|remove|enable|disable|test|deliveries|replay|rotate] [<webhook>|<url>]"
         " [<delivery>]",
         "Tell others of events by HTTP (admins)",
         "    berth webhooks                          all, and how they are\n"
         "    berth webhooks add https://ci.example.org/hook --subject 'berth.evt.default.run.>'\n"
         "    berth webhooks test <webhook>           sends a test event and says what came of it\n"
         "    berth webhooks deliveries <webhook>     the log, newest first\n"
         "    berth webhooks replay <webhook> [<delivery>]     again: one, or with --since all\n"
         "    berth webhooks rotate <webhook>         a new secret; the old one signs for 24 h "
         "more\n"
         "Events are CloudEvents 1.0 in JSON, signed as Standard Webhooks has it; the secret is "
         "shown\n"
         "once. Who does not answer is tried again for a day and then disabled.",
         {{"subject", "pattern", "Only these events (default: all of the org)", '\0', true},
          {"mode", "structured|binary", "How an event is written (default: structured)"},
          {"description", "text", "What it is for"},
          {"url", "url", "With set: send there instead"},
          {"state", "pending|delivered|failed", "With deliveries: only those"},
          {"since", "duration", "With replay: all that came within, like 2h"},
          {"failed", "", "With replay --since: only those that were given up"},
          {"limit", "number", "With deliveries: at most so many (default: 20)"},
          {"cursor", "text", "With deliveries: continue where the last page ended"}},
         0,
         3,
         false,
         &run_webhooks},
        {"chat",
         "[pair|links|unlink] [<platform>]",
         "Link who you are on a chat platform to who you are here",
         "    berth chat pair         prints a code; tell it to the bot within ten minutes: /berth "
         "pair <code>\n"
         "    berth chat links        who you are where\n"
         "    berth chat unlink slack",
         {},
         0,
         2,
         false,
         &run_chat},
    };
}

}  // namespace berth::cli
