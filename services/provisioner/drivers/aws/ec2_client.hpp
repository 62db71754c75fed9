// SPDX-License-Identifier: Apache-2.0
// Signed requests to EC2's Query API, repeated where that is safe and useful.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.hpp"
#include "core/time.hpp"
#include "http/client.hpp"
#include "provisioner/drivers/aws/ec2_xml.hpp"
#include "provisioner/drivers/aws/sigv4.hpp"

namespace berth::prov::aws {

/// Sends one request and waits for its answer. Thread-safe. Errors as http::Client's.
using HttpSend = std::function<Result<http::Response>(const http::Request&)>;
/// libcurl, with connections kept between requests and one for each thread that sends at once.
HttpSend pooled_http();

/// The fields of a request, in EC2's numbering of lists from 1.
class Params {
public:
    explicit Params(std::string action);
    Params& add(std::string name, std::string value);
    /// One more Filter.N: any of the values.
    Params& filter(std::string_view name, const std::vector<std::string>& values);
    /// One more TagSpecification.N.
    Params& tags(std::string_view resource_type, const Tags& tags);

    const std::string& action() const { return fields_[0].second; }
    /// application/x-www-form-urlencoded
    std::string form() const;

private:
    std::vector<std::pair<std::string, std::string>> fields_;
    int filters_ = 0;
    int tag_specifications_ = 0;
};

/// Thread-safe. Everything this project asks of EC2 may be repeated: RunInstances by its client
/// token, the rest by nature, so a lost answer is asked for again.
class Ec2Client {
public:
    struct Settings {
        std::string endpoint;  ///< "{region}" in it is replaced
        Credentials credentials;
        milliseconds backoff{500};  ///< before the second try, doubled for each further one
    };
    Ec2Client(Settings settings, HttpSend send, const Clock& clock)
        : settings_(std::move(settings)), send_(std::move(send)), clock_(clock) {}

    /// The body of EC2's 200. A refusal is an Error with EC2's own code ("VcpuLimitExceeded", see
    /// classify()) whose message is "RunInstances in eu-central-1: VcpuLimitExceeded: …";
    /// transport errors keep libs/http's codes. Throttling, 5xx and lost answers have then been
    /// tried again with growing pauses, at most kTries times and until `until`; a clock that AWS
    /// calls wrong has been corrected by AWS's Date once.
    Result<std::string> call(const std::string& region, const Params& params, SteadyTime until);

    /// Waits between two looks; returns at once when interrupted.
    void rest(milliseconds span);
    /// Ends every wait, and every call to come with unavailable "interrupted": the process stops.
    void interrupt();

private:
    struct Reply {
        Result<std::string> result;
        std::string date;  ///< the answer's Date header
    };
    Reply send_once(const std::string& region, const Params& params, SteadyTime until);
    bool correct_clock(std::string_view date);
    milliseconds pause(int attempt) const;
    bool is_stopping() const;

    const Settings settings_;
    const HttpSend send_;
    const Clock& clock_;
    std::atomic<long long> offset_us_{0};  ///< AWS's time less ours
    mutable std::mutex mutex_;
    std::condition_variable interrupted_;
    bool stopping_ = false;  // by mutex_
};

/// "Sat, 21 Nov 2026 12:25:56 GMT" (RFC 9110 section 5.6.7, the preferred form).
Result<WallTime> parse_http_date(std::string_view text);

}  // namespace berth::prov::aws
