// SPDX-License-Identifier: Apache-2.0
// One create(): every offer of the profile in turn, until a machine is heard.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "provisioner/driver.hpp"
#include "provisioner/drivers/aws/estate.hpp"

namespace berth::prov::aws {

/// One thing that may be asked for. Its place in the list never changes for a machine, and the
/// client token comes from it: asking again for the same offer is the same request to AWS.
struct Offer {
    std::string region;
    std::string type;
    std::string subnet;  ///< empty: AWS chooses
    bool spot = false;
    std::string client_token;

    std::string text() const;  ///< "t3.small in eu-central-1 (spot)"
};

/// Regions in order, in each the types in order, of each spot first where it is wanted, then
/// on-demand, in each subnet. Errors: "bad_profile", "unknown_location".
Result<std::vector<Offer>> offers_of(const AwsSettings& settings, const MachineSpec& spec);

/// Used once, by one thread.
class Creation {
public:
    Creation(Estate& estate, Boot& boot, const MachineSpec& spec, Attempts& attempts);
    Result<void> run();

private:
    struct Place {
        bool prepared = false;
        bool closed = false;  ///< nothing more is asked for here
        std::string vpc;
        Image image;
        std::vector<std::string> groups;
        std::string key_name;
    };
    struct Running {
        std::string region;
        std::string id;
        std::string what;  ///< as Attempt::target
    };

    Result<std::optional<Running>> adopt();
    Result<void> prepare(const std::string& region, Place& place);
    Result<void> prepare_or_close(const std::string& region, Place& place);
    Result<Image> find_image(const std::string& region);
    Result<std::string> find_vpc(const std::string& region);
    Result<std::string> ensure_group(
        const std::string& region,
        const std::string& vpc,
        const std::string& name,
        const std::string& machine
    );
    /// After "it exists" of what no list shows, made by another thread or before a crash. Waits a
    /// moment; not longer than the lists may lag, counted from `exists_since`, the first such
    /// answer: what came before may have taken long.
    Result<void> wait_listed(const std::string& what, std::optional<SteadyTime>& exists_since);
    Result<void> ensure_ssh(const std::string& region, Place& place);
    Result<void> ensure_key(const std::string& region);
    Result<void> open_ssh(const std::string& region, const std::string& group);

    Result<std::optional<Running>> launch(const Offer& offer, Place& place);
    Params request(const Offer& offer, const Place& place) const;
    /// The marks of all that is made for the machine.
    Tags tags() const;
    Result<std::optional<Running>> by_token(const Offer& offer);
    /// True: heard. False: it died, and that is among the attempts.
    Result<bool> await(const Running& running);
    Result<void> settle(const Running& running);
    /// Takes note of a refusal; false: it is not one that another offer could mend.
    bool refused(const std::string& what, const Error& error);
    Error exhausted() const;
    void rest() const;
    bool still_invisible(const Error& error, SteadyTime since) const;

    Estate& estate_;
    Boot& boot_;
    const MachineSpec& spec_;
    Attempts& attempts_;
    const SteadyTime since_;
    const SteadyTime until_;
    std::vector<Offer> offers_;
    std::vector<std::string> regions_;
    std::map<std::string, Place> places_;
    Secret user_data_;  // base64
    int no_capacity_ = 0;
    int died_ = 0;
    std::optional<Error> misfit_;  // the last refusal that only another image or setting mends
};

}  // namespace berth::prov::aws
