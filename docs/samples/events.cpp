// SPDX-License-Identifier: Apache-2.0
// A subscriber in C++ with the official client (nats.c): reads an org's events from its own
// durable, which keeps its place, with a credential of `berth events credentials`.
//
//   events URL CREDS_FILE DURABLE INBOX_PREFIX COUNT     prints COUNT events and returns
#include <nats/nats.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

namespace {

void check(natsStatus status, const char* what) {
    if (status == NATS_OK) return;
    std::fprintf(stderr, "%s: %s\n", what, natsStatus_GetText(status));
    std::exit(1);
}

template <typename T, void (*destroy)(T*)>
struct Destroy {
    void operator()(T* object) const { destroy(object); }
};
template <typename T, void (*destroy)(T*)>
using Owned = std::unique_ptr<T, Destroy<T, destroy>>;

}  // namespace

int main(int argc, char** argv) {
    if (argc != 6) {
        std::fprintf(stderr, "usage: events URL CREDS_FILE DURABLE INBOX_PREFIX COUNT\n");
        return 2;
    }
    natsOptions* raw_options = nullptr;
    check(natsOptions_Create(&raw_options), "options");
    const Owned<natsOptions, natsOptions_Destroy> options(raw_options);
    check(natsOptions_SetURL(raw_options, argv[1]), "url");
    check(natsOptions_SetUserCredentialsFromFiles(raw_options, argv[2], nullptr), "credentials");
    // Replies are heard nowhere else: the credential allows this inbox and no other.
    check(natsOptions_SetCustomInboxPrefix(raw_options, argv[4]), "inbox prefix");

    natsConnection* raw_connection = nullptr;
    natsStatus status = NATS_ERR;
    // nats.c before 3.8 fails to log in once in 256 times.
    for (int attempt = 0; attempt < 5 && status != NATS_OK; ++attempt)
        status = natsConnection_Connect(&raw_connection, raw_options);
    check(status, "connecting");
    const Owned<natsConnection, natsConnection_Destroy> connection(raw_connection);
    jsCtx* raw_stream = nullptr;
    check(natsConnection_JetStream(&raw_stream, raw_connection, nullptr), "JetStream");
    const Owned<jsCtx, jsCtx_Destroy> stream(raw_stream);

    // Stream and consumer named: the durable is bound, not made, which the credential does not
    // allow.
    jsSubOptions bind;
    jsSubOptions_Init(&bind);
    bind.Stream = "EVT";
    bind.Consumer = argv[3];
    natsSubscription* raw_subscription = nullptr;
    check(
        js_PullSubscribe(&raw_subscription, raw_stream, nullptr, argv[3], nullptr, &bind, nullptr),
        "binding the durable"
    );
    const Owned<natsSubscription, natsSubscription_Destroy> subscription(raw_subscription);

    const int wanted = std::atoi(argv[5]);
    for (int seen = 0; seen < wanted;) {
        natsMsgList list{};
        status = natsSubscription_Fetch(&list, raw_subscription, 1, 30'000, nullptr);
        check(status, "fetching");
        for (int i = 0; i < list.Count; ++i) {
            natsMsg* message = list.Msgs[i];
            const char* id = "";
            const char* type = "";
            (void)natsMsgHeader_Get(message, "ce-id", &id);
            (void)natsMsgHeader_Get(message, "ce-type", &type);
            // The payload is the protobuf message that ce-type names (schemas/berth);
            // docs/events.md describes it.
            std::printf(
                "%s %s %s %d bytes\n",
                natsMsg_GetSubject(message),
                type,
                id,
                natsMsg_GetDataLength(message)
            );
            // An event may come twice: remember ce-id, or compare `revision`, before you act. Then
            // say that it is done: not while what was printed is only in a buffer.
            if (std::fflush(stdout) != 0) return 1;
            check(natsMsg_Ack(message, nullptr), "acknowledging");
            ++seen;
        }
        natsMsgList_Destroy(&list);
    }
    check(natsConnection_FlushTimeout(raw_connection, 5'000), "flushing");
    return 0;
}
