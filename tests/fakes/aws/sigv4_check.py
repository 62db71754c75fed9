# SPDX-License-Identifier: Apache-2.0
# Verifies AWS Signature Version 4 as the service does: written apart from the driver's signer, from the public
# description, so that a shared mistake would have to be made twice.
import datetime
import hashlib
import hmac
import re

WINDOW = datetime.timedelta(minutes=5)
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})")


class Refused(Exception):
    def __init__(self, code, message, status=403):
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def verify(headers, body, now, keys, service="ec2"):
    """The region that the request is signed for. `headers`: list of (name, value); `keys`: access key -> (secret,
    session token or None); `now`: the service's clock, aware. Raises Refused. The path is always "/" here."""
    values = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(" ".join(value.split()))
    if "authorization" not in values:
        raise Refused("MissingAuthenticationToken", "Request is missing Authentication Token")
    match = AUTHORIZATION.fullmatch(values["authorization"][0])
    if not match:
        raise Refused("AuthFailure", "the Authorization header cannot be read", 401)
    access, day, region, signed_service, signed, claimed = match.groups()
    if access not in keys:
        raise Refused("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
    secret, token = keys[access]
    names = signed.split(";")
    if names != sorted(set(names)):
        raise Refused("SignatureDoesNotMatch", "SignedHeaders are not sorted")
    for needed in ["host", "x-amz-date"] + [name for name in values if name.startswith("x-amz-")]:
        if needed not in names:
            raise Refused("SignatureDoesNotMatch", needed + " is not signed")
    if any(name not in values for name in names):
        raise Refused("SignatureDoesNotMatch", "a signed header is missing")
    if (values.get("x-amz-security-token") or [None])[0] != token:
        raise Refused("InvalidClientTokenId", "The security token included in the request is invalid")
    if signed_service != service:
        raise Refused("SignatureDoesNotMatch", "Credential should be scoped to correct service: '%s'" % service)
    stamp = values["x-amz-date"][0]
    when = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    if stamp[:8] != day:
        raise Refused("SignatureDoesNotMatch", "Date in Credential scope does not match")
    canonical = "POST\n/\n\n%s\n%s\n%s" % (
        "".join("%s:%s\n" % (name, ",".join(values[name])) for name in names), signed, hashlib.sha256(body).hexdigest())
    scope = "%s/%s/%s/aws4_request" % (day, region, service)
    text = "AWS4-HMAC-SHA256\n%s\n%s\n%s" % (stamp, scope, hashlib.sha256(canonical.encode()).hexdigest())
    key = ("AWS4" + secret).encode()
    for part in (day, region, service, "aws4_request"):
        key = _hmac(key, part)
    if not hmac.compare_digest(_hmac(key, text).hex(), claimed):
        raise Refused("SignatureDoesNotMatch", "The request signature we calculated does not match")
    if abs(now - when) > WINDOW:
        raise Refused("RequestExpired", "Request has expired. Timestamp date is %s" % when.isoformat(), 400)
    return region
