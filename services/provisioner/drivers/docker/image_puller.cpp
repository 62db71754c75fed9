// SPDX-License-Identifier: Apache-2.0
// Images in the background: one is fetched once, however many machines wait for it.
#include "log/log.hpp"
#include "provisioner/drivers/docker/docker_driver.hpp"

namespace berth::prov {
namespace {

// A small image is there by then; a large one makes the create come again.
constexpr seconds kPullPatience{8};
constexpr std::size_t kMaxPulls = 4;

}  // namespace

ImagePuller::~ImagePuller() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        for (auto& [image, pull] : pulls_) {
            if (pull.cancel) pull.cancel();
        }
    }
    // Nobody adds or takes any more: the driver's calls have ended.
    for (auto& [image, pull] : pulls_) pull.thread.join();
}

Result<void> ImagePuller::ensure(const std::string& image) {
    const auto found = engine_.get("/images/" + image + "/json");
    if (found) return {};
    if (found.error().fault != Fault::kNotFound) return found.error();
    std::unique_lock lock(mutex_);
    if (!pulls_.contains(image)) {
        if (pulls_.size() >= kMaxPulls)
            return unavailable(std::string(kImagePulling), "other images are being fetched first");
        log::info("an image is fetched", {{"image", image}});
        pulls_[image].thread = std::thread([this, image] {
            auto outcome = engine_.pull(image, [&](std::function<void()> cancel) {
                const std::lock_guard begun_lock(mutex_);
                if (stopping_) cancel();
                pulls_[image].cancel = std::move(cancel);
            });
            const std::lock_guard done_lock(mutex_);
            Pull& pull = pulls_[image];
            pull.outcome = std::move(outcome);
            pull.done = true;
            changed_.notify_all();
        });
    }
    const bool done = changed_.wait_for(lock, kPullPatience, [&] {
        const auto pull = pulls_.find(image);
        return pull == pulls_.end() || pull->second.done;
    });
    if (!done)
        return unavailable(
            std::string(kImagePulling), "the image " + image + " is still being fetched"
        );
    const auto pull = pulls_.find(image);
    if (pull == pulls_.end()) return {};  // another who waited has seen its end; create will tell
    // It has said its last word and ends without this lock.
    pull->second.thread.join();
    Result<void> outcome = std::move(pull->second.outcome);
    pulls_.erase(pull);
    return outcome;
}

}  // namespace berth::prov
