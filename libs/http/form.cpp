// SPDX-License-Identifier: Apache-2.0
// Parts between boundaries.
#include "http/form.hpp"

#include <array>
#include <cstdint>

#include "core/random.hpp"
#include "core/text.hpp"

namespace berth::http {

std::string make_boundary() {
    std::array<std::uint8_t, 16> bytes{};
    Random::system().fill(bytes);
    return "berth-" + hex({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

void Form::field(std::string_view name, std::string_view value, std::string_view type) {
    part(name, {}, type, value);
}

void Form::file(
    std::string_view name, std::string_view file_name, std::string_view bytes, std::string_view type
) {
    part(name, "; filename=\"" + std::string(file_name) + "\"", type, bytes);
}

void Form::part(
    std::string_view name, std::string_view more, std::string_view type, std::string_view content
) {
    parts_.append("--").append(boundary_);
    parts_.append("\r\nContent-Disposition: form-data; name=\"").append(name).append("\"");
    parts_.append(more);
    if (!type.empty()) parts_.append("\r\nContent-Type: ").append(type);
    parts_.append("\r\n\r\n").append(content).append("\r\n");
}

}  // namespace berth::http
