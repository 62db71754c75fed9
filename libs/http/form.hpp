// SPDX-License-Identifier: Apache-2.0
// Forms with files, as browsers send them.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace berth::http {

/// Random, so that nothing sent can hold it.
std::string make_boundary();

/// The body of a request of type multipart/form-data (RFC 7578), part by part. Names stand between
/// quotes as they are given.
class Form {
public:
    explicit Form(std::string boundary = make_boundary()) : boundary_(std::move(boundary)) {}

    /// `type` is the value's content type; empty: text.
    void field(std::string_view name, std::string_view value, std::string_view type = {});
    void file(
        std::string_view name,
        std::string_view file_name,
        std::string_view bytes,
        std::string_view type = "application/octet-stream"
    );

    std::string content_type() const { return "multipart/form-data; boundary=" + boundary_; }
    std::string body() const { return parts_ + "--" + boundary_ + "--\r\n"; }

private:
    void part(
        std::string_view name,
        std::string_view more,
        std::string_view type,
        std::string_view content
    );

    std::string boundary_;
    std::string parts_;
};

}  // namespace berth::http
