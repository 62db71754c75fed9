// SPDX-License-Identifier: Apache-2.0
// CloudEvents over HTTP, Standard Webhooks' headers.
#include "webhook/post.hpp"

#include "service/cloud_event.hpp"
#include "webhook/settings.hpp"
#include "webhook/signature.hpp"

namespace berth::webhook {

http::Request make_post(
    const Destination& to,
    const bus::Message& event,
    const std::string& webhook_id,
    const std::string& address,
    WallTime now,
    milliseconds timeout
) {
    const service::CloudEvent told = service::to_cloud_event(event);
    http::Request out;
    out.method = "POST";
    out.url = to.url;
    out.connect_to = address;
    out.timeout = timeout;
    out.max_response = kMaxAnswer;
    out.cut_response = true;
    if (to.binary) {
        out.headers = service::binary_headers(told);
        out.headers.emplace_back("Content-Type", told.content_type);
        out.body = told.data;
    } else {
        out.headers.emplace_back("Content-Type", "application/cloudevents+json; charset=utf-8");
        out.body = service::structured_json(told);
    }
    const Secret none;
    const Secret& old = now < to.old_secret_until ? to.old_secret : none;
    out.headers.emplace_back("User-Agent", "berth-webhook");
    out.headers.emplace_back("webhook-id", webhook_id);
    out.headers.emplace_back("webhook-timestamp", std::to_string(to_unix_micros(now) / 1'000'000));
    out.headers.emplace_back("webhook-signature", sign(to.secret, old, webhook_id, now, out.body));
    return out;
}

}  // namespace berth::webhook
