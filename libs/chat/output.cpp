// SPDX-License-Identifier: Apache-2.0
// Reading berth.out.<org>.<machine>.<run>.
#include "chat/output.hpp"

#include <condition_variable>
#include <vector>

#include "chat/length.hpp"
#include "core/id.hpp"

namespace berth::chat {
namespace {

// The last frame may lag behind the run's end: its machine sends both.
constexpr milliseconds kLastFrame{5'000};
constexpr milliseconds kStillStored{30'000};

std::string subject_of(const run::v1::Run& run) {
    // A queued run has no machine yet.
    const std::string machine = is_subject_token(run.machine()) ? run.machine() : "*";
    return "berth.out." + run.org() + "." + machine + "." + run.id();
}

/// What ECMA-48 calls control sequences (ESC [ …), operating system commands (ESC ] … BEL) and
/// two-byte escapes.
std::string without_escapes(std::string_view bytes) {
    std::string out;
    out.reserve(bytes.size());
    for (std::size_t at = 0; at < bytes.size();) {
        if (bytes[at] != '\x1b') {
            out += bytes[at++];
            continue;
        }
        ++at;
        if (at == bytes.size()) break;
        const char kind = bytes[at++];
        if (kind == '[') {
            while (at < bytes.size() && (bytes[at] < 0x40 || bytes[at] > 0x7e)) ++at;
            if (at < bytes.size()) ++at;
        } else if (kind == ']') {
            while (at < bytes.size() && bytes[at] != '\x07' && bytes[at] != '\x1b') ++at;
            if (at < bytes.size() && bytes[at] == '\x07') ++at;
        }
    }
    return out;
}

/// What stands after the last carriage return of a line is what a terminal shows.
std::string overwritten(std::string_view line) {
    while (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    const auto at = line.rfind('\r');
    return std::string(at == std::string_view::npos ? line : line.substr(at + 1));
}

}  // namespace

std::string readable(std::string_view bytes) {
    const std::string plain = without_escapes(bytes);
    std::string out;
    std::string_view rest = plain;
    for (;;) {
        const auto end = rest.find('\n');
        out += overwritten(rest.substr(0, end));
        if (end == std::string_view::npos) break;
        out += '\n';
        rest.remove_prefix(end + 1);
    }
    return to_text(out);
}

void Tail::add(std::string_view bytes) {
    total_ += bytes.size();
    kept_ += bytes;
    if (kept_.size() > 2 * kBytes) kept_.erase(0, kept_.size() - kBytes);
}

std::string Tail::text(std::size_t lines, std::size_t bytes) const {
    std::string text = readable(kept_);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    const bool begun_inside = total_ > kept_.size();
    std::size_t from = text.size();
    for (std::size_t found = 0; from > 0; --from) {
        if (text[from - 1] == '\n' && ++found == lines) break;
    }
    const bool left_out = from > 0 || begun_inside;
    text.erase(0, from);
    if (text.size() > bytes) {
        // Whole lines where there are several.
        std::size_t cut_at = text.size() - bytes;
        if (const auto line = text.find('\n', cut_at);
            line != std::string::npos && line + 1 < text.size())
            cut_at = line + 1;
        while (cut_at < text.size() && (static_cast<unsigned char>(text[cut_at]) & 0xC0U) == 0x80U)
            ++cut_at;
        text.erase(0, cut_at);
        return "\u2026\n" + text;
    }
    return left_out && !text.empty() ? "\u2026\n" + text : text;
}

std::optional<std::string> Frames::take(const run::v1::OutputFrame& frame) {
    if (frame.offset() != offset_) return std::nullopt;
    // A notice of Berth's own has a place in the output but takes none.
    if (frame.stream() != run::v1::STREAM_BERTH) offset_ += frame.data().size();
    return frame.data();
}

Result<std::shared_ptr<OutputFollower>> OutputFollower::start(
    bus::Connection& bus, const run::v1::Run& run
) {
    std::shared_ptr<OutputFollower> out(new OutputFollower);
    bus::ReaderSettings settings;
    settings.stream = "OUT";
    settings.filter = subject_of(run);
    OutputFollower* self = out.get();  // the reader ends before it does
    BERTH_ASSIGN(out->reader_, bus.read(settings, [self](const bus::ReadMessage& message) {
        run::v1::OutputFrame frame;
        if (!frame.ParseFromString(message.message.payload)) return true;
        const std::lock_guard lock(self->mutex_);
        const auto bytes = self->frames_.take(frame);
        if (bytes) self->tail_.add(*bytes);
        return !bytes || !frame.has_end();
    }));
    return out;
}

OutputFollower::~OutputFollower() {
    if (reader_) reader_->stop();
}

std::uint64_t OutputFollower::total() const {
    const std::lock_guard lock(mutex_);
    return tail_.total();
}

std::string OutputFollower::text(std::size_t lines, std::size_t bytes) const {
    const std::lock_guard lock(mutex_);
    return tail_.text(lines, bytes);
}

Result<WholeOutput> whole_output(bus::Connection& bus, const run::v1::Run& run, std::size_t most) {
    struct State {
        std::mutex mutex;
        std::condition_variable changed;
        WholeOutput out;
        Frames frames;
        bool ended = false;
        SteadyTime heard = std::chrono::steady_clock::now();
    };
    const auto state = std::make_shared<State>();
    bus::ReaderSettings settings;
    settings.stream = "OUT";
    settings.filter = subject_of(run);
    BERTH_ASSIGN(
        const auto reader,
        bus.read(
            settings,
            [state, most](const bus::ReadMessage& message) {
                run::v1::OutputFrame frame;
                const std::lock_guard lock(state->mutex);
                state->heard = std::chrono::steady_clock::now();
                if (!frame.ParseFromString(message.message.payload)) return true;
                const auto bytes = state->frames.take(frame);
                if (!bytes) return true;
                std::string& text = state->out.bytes;
                if (text.size() + bytes->size() > most) {
                    state->out.cut = true;
                    text.append(*bytes, 0, most - text.size());
                } else {
                    text += *bytes;
                }
                state->ended = frame.has_end();
                if (state->ended) state->changed.notify_all();
                return !state->ended;
            }
        )
    );
    {
        std::unique_lock lock(state->mutex);
        const SteadyTime until = std::chrono::steady_clock::now() + kStillStored;
        while (!state->ended) {
            const SteadyTime now = std::chrono::steady_clock::now();
            // A run that wrote nothing and never began has no frame at all.
            const milliseconds patience = state->frames.offset() >= run.output_bytes() &&
                                                  run.output_bytes() == 0 && !run.has_started_at()
                                              ? milliseconds{500}
                                              : kLastFrame;
            if (now >= until || now - state->heard > patience) break;
            state->changed.wait_for(lock, milliseconds{100});
        }
        state->out.incomplete = state->frames.offset() < run.output_bytes();
    }
    reader->stop();
    return std::move(state->out);
}

}  // namespace berth::chat
