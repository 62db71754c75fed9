// SPDX-License-Identifier: Apache-2.0
// The blocking client. Beast's response parser reads what comes; everything else is plain sockets.
#include "net/http_client.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <limits>
#include <optional>
#include <vector>

#include "net/posix_socket.hpp"

namespace berth::net {
namespace {

namespace http = boost::beast::http;
using Parser = http::response_parser<http::buffer_body>;

constexpr std::size_t kMaxBody = 64U << 20U;  // of an answer that is held in memory
constexpr std::uint32_t kMaxHead = 64U << 10U;
constexpr std::size_t kChunk = 64U << 10U;

Error bad_response(std::string_view why) {
    return internal(
        "bad_response", "the server's answer is not well-formed HTTP: " + std::string(why)
    );
}

SteadyTime deadline_in(milliseconds timeout) {
    return timeout.count() <= 0 ? kNever : std::chrono::steady_clock::now() + timeout;
}

bool may_repeat(const HttpRequest& request) {
    return request.method == "GET" || request.method == "HEAD" || request.method == "PUT" ||
           request.method == "DELETE" || request.headers.has("Idempotency-Key");
}

}  // namespace

struct HttpClient::Impl {
    Result<BaseUrl> url;
    Interrupter interrupter;
    std::unique_ptr<Wire> wire;
    std::string in;  // bytes beyond the last answer

    explicit Impl(std::string_view base) : url(parse_base_url(base)) {}

    Result<void> connect(SteadyTime until) {
        BERTH_ASSIGN(wire, open_wire(*url, until, &interrupter));
        in.clear();
        return {};
    }

    std::string head_of(const HttpRequest& request) const {
        std::string out = request.method + " " + url->prefix + request.path +
                          " HTTP/1.1\r\nHost: " + url->authority();
        for (const auto& [name, value] : request.headers.fields())
            out += "\r\n" + name + ": " + value;
        if (!request.body.empty() || request.method == "POST" || request.method == "PUT" ||
            request.method == "PATCH") {
            out += "\r\nContent-Length: " + std::to_string(request.body.size());
        }
        return out + "\r\n\r\n" + request.body;
    }

    Result<std::size_t> read_more(SteadyTime until) {
        const auto old = in.size();
        in.resize(old + kChunk);
        auto got = wire->read(in.data() + old, kChunk, until);
        in.resize(old + (got ? *got : 0));
        return got;
    }

    Result<void> read_head(Parser& parser, SteadyTime until) {
        boost::system::error_code error;
        while (!parser.is_header_done()) {
            if (!in.empty()) {
                const auto used = parser.put(boost::asio::buffer(in), error);
                in.erase(0, used);
                if (error && error != http::error::need_more) return bad_response(error.message());
                if (parser.is_header_done()) break;
            }
            BERTH_ASSIGN(const auto got, read_more(until));
            if (got == 0)
                return unavailable(
                    "connection_lost", "the server closed the connection without an answer"
                );
        }
        return {};
    }

    // Gives the body piece by piece; returns whether it was read to its end.
    Result<bool> read_body(
        Parser& parser,
        const std::function<SteadyTime()>& until,
        const std::function<Result<bool>(std::string_view)>& take
    ) {
        boost::system::error_code error;
        std::vector<char> piece(kChunk);
        parser.eager(true);
        while (!parser.is_done()) {
            if (in.empty()) {
                BERTH_ASSIGN(const auto got, read_more(until()));
                if (got == 0) {
                    parser.put_eof(error);
                    if (error)
                        return unavailable(
                            "connection_lost", "the connection was lost inside an answer"
                        );
                    break;
                }
            }
            parser.get().body().data = piece.data();
            parser.get().body().size = piece.size();
            parser.get().body().more = true;
            const auto used = parser.put(boost::asio::buffer(in), error);
            in.erase(0, used);
            if (error && error != http::error::need_more && error != http::error::need_buffer)
                return bad_response(error.message());
            const auto filled = piece.size() - parser.get().body().size;
            if (filled > 0) {
                BERTH_ASSIGN(const bool go_on, take({piece.data(), filled}));
                if (!go_on) return false;
            } else if (used == 0 && !parser.is_done()) {
                BERTH_ASSIGN(const auto got, read_more(until()));
                if (got == 0)
                    return unavailable(
                        "connection_lost", "the connection was lost inside an answer"
                    );
            }
        }
        return true;
    }

    // One attempt. `answered` tells whether any byte of an answer came, after which nothing may be
    // repeated.
    Result<HttpResponse> attempt(
        const HttpRequest& request,
        bool streaming,
        const std::function<bool(std::string_view)>& on_chunk,
        bool& answered
    ) {
        const auto overall = deadline_in(request.timeout);
        const auto until = [&] { return streaming ? deadline_in(request.timeout) : overall; };
        BERTH_TRY(wire->write(head_of(request), overall));
        HttpResponse response;
        std::optional<Parser> parser;
        do {  // 1xx answers come before the answer
            parser.emplace();
            parser->header_limit(kMaxHead);
            // Not boost::none, which Beast 1.74 compares as if it were the smallest limit.
            parser->body_limit(std::numeric_limits<std::uint64_t>::max());
            parser->skip(request.method == "HEAD");
            BERTH_TRY(read_head(*parser, until()));
            answered = true;
        } while (parser->get().result_int() >= 100 && parser->get().result_int() < 200);
        response.status = static_cast<int>(parser->get().result_int());
        for (const auto& field : parser->get()) {
            response.headers.add(std::string(field.name_string()), std::string(field.value()));
        }
        const bool to_caller = streaming && response.status / 100 == 2;
        BERTH_ASSIGN(
            const bool whole,
            read_body(
                *parser,
                until,
                [&](std::string_view bytes) -> Result<bool> {
                    if (to_caller) return on_chunk(bytes);
                    if (response.body.size() + bytes.size() > kMaxBody) {
                        return Error{
                            Fault::kTooLarge, "too_large", "the answer is larger than 64 MiB", {}};
                    }
                    response.body.append(bytes);
                    return true;
                }
            )
        );
        if (!whole || !parser->keep_alive()) wire.reset();
        return response;
    }

    Result<HttpResponse> run(
        const HttpRequest& request,
        bool streaming,
        const std::function<bool(std::string_view)>& on_chunk
    ) {
        if (!url) return url.error();
        const bool kept = wire != nullptr && in.empty() && wire->reusable();
        if (!kept) BERTH_TRY(connect(deadline_in(request.timeout)));
        bool answered = false;
        auto result = attempt(request, streaming, on_chunk, answered);
        // The server may close a kept connection while the request is on its way (RFC 9112
        // section 9.3.1).
        if (!result && kept && !answered && result.error().code == "connection_lost" &&
            may_repeat(request)) {
            BERTH_TRY(connect(deadline_in(request.timeout)));
            result = attempt(request, streaming, on_chunk, answered);
        }
        if (!result) wire.reset();
        return result;
    }
};

HttpClient::HttpClient(std::string_view base_url) : impl_(std::make_unique<Impl>(base_url)) {}
HttpClient::~HttpClient() = default;
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;

Result<HttpResponse> HttpClient::send(const HttpRequest& request) {
    return impl_->run(request, false, {});
}
Result<HttpResponse> HttpClient::stream(
    const HttpRequest& request, const std::function<bool(std::string_view)>& on_chunk
) {
    return impl_->run(request, true, on_chunk);
}
void HttpClient::cancel() { impl_->interrupter.fire(); }

}  // namespace berth::net
