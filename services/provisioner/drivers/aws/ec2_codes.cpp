// SPDX-License-Identifier: Apache-2.0
// The table of EC2's error codes.
#include "provisioner/drivers/aws/ec2_codes.hpp"

#include <algorithm>
#include <array>

namespace berth::prov::aws {
namespace {

struct Known {
    std::string_view code;
    Refusal refusal;
};

constexpr std::array kKnown{
    // No room.
    Known{"InsufficientInstanceCapacity", Refusal::kCapacity},
    Known{"InsufficientCapacity", Refusal::kCapacity},
    Known{"InsufficientCapacityOnHost", Refusal::kCapacity},
    Known{"InsufficientHostCapacity", Refusal::kCapacity},
    Known{"InsufficientReservedInstanceCapacity", Refusal::kCapacity},
    Known{"InsufficientReservedInstancesCapacity", Refusal::kCapacity},
    Known{"InsufficientAddressCapacity", Refusal::kCapacity},
    Known{"InsufficientFreeAddressesInSubnet", Refusal::kCapacity},
    Known{"InsufficientVolumeCapacity", Refusal::kCapacity},
    Known{"ReservationCapacityExceeded", Refusal::kCapacity},
    Known{"UnfulfillableCapacity", Refusal::kCapacity},
    // No quota.
    Known{"VcpuLimitExceeded", Refusal::kCapacity},
    Known{"InstanceLimitExceeded", Refusal::kCapacity},
    Known{"MaxSpotInstanceCountExceeded", Refusal::kCapacity},
    Known{"SpotMaxPriceTooLow", Refusal::kCapacity},
    Known{"SpotInstanceTermination", Refusal::kCapacity},
    Known{"VolumeLimitExceeded", Refusal::kCapacity},
    Known{"MaxIOPSLimitExceeded", Refusal::kCapacity},
    Known{"NetworkInterfaceLimitExceeded", Refusal::kCapacity},
    Known{"PrivateIpAddressLimitExceeded", Refusal::kCapacity},
    Known{"AddressLimitExceeded", Refusal::kCapacity},
    Known{"ResourceCountExceeded", Refusal::kCapacity},
    Known{"ResourceLimitExceeded", Refusal::kCapacity},
    Known{"SecurityGroupLimitExceeded", Refusal::kCapacity},
    Known{"KeyPairLimitExceeded", Refusal::kCapacity},
    // Not offered: the type in this zone, the region for this account, an account being looked at.
    Known{"Unsupported", Refusal::kCapacity},
    Known{"UnsupportedOperation", Refusal::kCapacity},
    Known{"UnsupportedInstanceTypeOnSpot", Refusal::kCapacity},
    Known{"OptInRequired", Refusal::kCapacity},
    Known{"PendingVerification", Refusal::kCapacity},
    Known{"PendingSnapshotLimitExceeded", Refusal::kCapacity},
    // Rate.
    Known{"RequestLimitExceeded", Refusal::kThrottled},
    Known{"Throttling", Refusal::kThrottled},
    Known{"ThrottlingException", Refusal::kThrottled},
    Known{"ThrottledException", Refusal::kThrottled},
    Known{"RequestThrottled", Refusal::kThrottled},
    Known{"RequestThrottledException", Refusal::kThrottled},
    Known{"TooManyRequestsException", Refusal::kThrottled},
    Known{"EC2ThrottledException", Refusal::kThrottled},
    Known{"BandwidthLimitExceeded", Refusal::kThrottled},
    Known{"SlowDown", Refusal::kThrottled},
    // AWS in trouble.
    Known{"InternalError", Refusal::kPassing},
    Known{"InternalFailure", Refusal::kPassing},
    Known{"InternalServerError", Refusal::kPassing},
    Known{"ServiceUnavailable", Refusal::kPassing},
    Known{"Unavailable", Refusal::kPassing},
    Known{"RequestTimeout", Refusal::kPassing},
    Known{"ConcurrentTagAccess", Refusal::kPassing},
    Known{"IncorrectInstanceState", Refusal::kPassing},
    // Images.
    Known{"InvalidAMIID.NotFound", Refusal::kImage},
    Known{"InvalidAMIID.Unavailable", Refusal::kImage},
    Known{"InvalidAMIID.Malformed", Refusal::kImage},
    // State.
    Known{"InvalidGroup.Duplicate", Refusal::kDuplicate},
    Known{"InvalidKeyPair.Duplicate", Refusal::kDuplicate},
    Known{"InvalidPermission.Duplicate", Refusal::kDuplicate},
    Known{"DependencyViolation", Refusal::kInUse},
    Known{"InvalidGroup.InUse", Refusal::kInUse},
    Known{"VolumeInUse", Refusal::kInUse},
    Known{"IdempotentParameterMismatch", Refusal::kMismatch},
    Known{"IdempotentInstanceTerminated", Refusal::kCapacity},
    // Clock and key.
    Known{"RequestExpired", Refusal::kClock},
    Known{"RequestTimeTooSkewed", Refusal::kClock},
    Known{"AuthFailure", Refusal::kDenied},
    Known{"Blocked", Refusal::kDenied},
    Known{"ExpiredToken", Refusal::kDenied},
    Known{"InvalidClientTokenId", Refusal::kDenied},
    Known{"MissingAuthenticationToken", Refusal::kDenied},
    Known{"OperationNotPermitted", Refusal::kDenied},
    Known{"SignatureDoesNotMatch", Refusal::kDenied},
    Known{"UnauthorizedOperation", Refusal::kDenied},
};

}  // namespace

Refusal classify(std::string_view code) {
    if (!code.empty() && code.front() >= 'a' && code.front() <= 'z') return Refusal::kPassing;
    for (const std::string_view prefix : {"Server.", "Client."}) {
        if (code.starts_with(prefix)) code.remove_prefix(prefix.size());
    }
    const auto found = std::find_if(kKnown.begin(), kKnown.end(), [code](const Known& known) {
        return known.code == code;
    });
    if (found != kKnown.end()) return found->refusal;
    return code.ends_with(".NotFound") ? Refusal::kMissing : Refusal::kOther;
}

Fault fault_of(Refusal refusal) {
    switch (refusal) {
        case Refusal::kCapacity:
        case Refusal::kThrottled:
        case Refusal::kPassing:
        case Refusal::kInUse: return Fault::kUnavailable;
        case Refusal::kMissing: return Fault::kNotFound;
        case Refusal::kDuplicate:
        case Refusal::kMismatch: return Fault::kConflict;
        case Refusal::kClock:
        case Refusal::kDenied: return Fault::kForbidden;
        case Refusal::kImage:
        case Refusal::kOther: break;
    }
    return Fault::kInvalid;
}

}  // namespace berth::prov::aws
