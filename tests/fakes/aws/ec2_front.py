# SPDX-License-Identifier: Apache-2.0
# What stands before an EC2 (the one in memory, or moto): signatures, strict parameters, client tokens, pages, late
# visibility, and faults on command.
import datetime
import hashlib
import re
import threading
import xml.etree.ElementTree as ElementTree

from common.faults import Kill, next_fault
from ec2_memory import NAMESPACE, Failure, numbered
from sigv4_check import Refused, verify

KEYS = {"AKIDFAKE": ("fake-secret", None), "ASIAFAKE": ("temporary-secret", "temporary-token")}
REGIONS = ["eu-central-1", "eu-west-1", "us-east-1"]

FILTERED = r"Filter\.\d+\.(Name|Value\.\d+)"
PAGED = r"MaxResults|NextToken"
TAGGED = r"TagSpecification\.\d+\.(ResourceType|Tag\.\d+\.(Key|Value))"
# Action -> (needed parameters, further ones, filters, resource types of tag specifications). What is not here is refused.
ACTIONS = {
    "DescribeInstances": ([], [r"InstanceId\.\d+", FILTERED, PAGED], r"tag:[\w:-]+|instance-state-name|instance-id|client-token", []),
    "DescribeKeyPairs": ([], [FILTERED], r"tag:[\w:-]+|key-name", []),
    "DescribeSecurityGroups": ([], [FILTERED, PAGED], r"tag:[\w:-]+|group-name|vpc-id", []),
    "DescribeVolumes": ([], [FILTERED, PAGED], r"tag:[\w:-]+", []),
    "DescribeVpcs": ([], [FILTERED, PAGED], r"is-default", []),
    "DescribeImages": ([], [r"ImageId\.\d+|Owner\.\d+", FILTERED], r"name|state", []),
    "RunInstances": (["ImageId", "InstanceType", "MinCount", "MaxCount"], [
        r"ClientToken|KeyName|UserData|SubnetId|InstanceInitiatedShutdownBehavior", r"SecurityGroupId\.\d+",
        r"MetadataOptions\.(HttpTokens|HttpEndpoint|HttpPutResponseHopLimit)", r"InstanceMarketOptions\.MarketType",
        r"InstanceMarketOptions\.SpotOptions\.(SpotInstanceType|InstanceInterruptionBehavior|MaxPrice)",
        r"BlockDeviceMapping\.\d+\.(DeviceName|Ebs\.(DeleteOnTermination|VolumeSize|VolumeType))", TAGGED], r"", ["instance", "volume"]),
    "ImportKeyPair": (["KeyName", "PublicKeyMaterial"], [TAGGED], r"", ["key-pair"]),
    "CreateSecurityGroup": (["GroupName", "GroupDescription"], ["VpcId", TAGGED], r"", ["security-group"]),
    "AuthorizeSecurityGroupIngress": (["GroupId"], [
        r"IpPermissions\.\d+\.(IpProtocol|FromPort|ToPort|IpRanges\.\d+\.CidrIp|Ipv6Ranges\.\d+\.CidrIpv6)"], r"", []),
    "TerminateInstances": (["InstanceId.1"], [r"InstanceId\.\d+"], r"", []),
    "DeleteKeyPair": ([], ["KeyPairId|KeyName"], r"", []),
    "DeleteSecurityGroup": (["GroupId"], [], r"", []),
    "DeleteVolume": (["VolumeId"], [], r"", []),
}
VALUES = {
    "InstanceInitiatedShutdownBehavior": "stop|terminate", "MetadataOptions.HttpTokens": "optional|required",
    "MetadataOptions.HttpEndpoint": "enabled|disabled", "InstanceMarketOptions.MarketType": "spot", "ClientToken": r"[\x21-\x7e]{1,64}",
    "InstanceMarketOptions.SpotOptions.SpotInstanceType": "one-time|persistent", "InstanceType": r"[a-z0-9-]+\.[a-z0-9-]+",
    "MinCount": r"\d+", "MaxCount": r"\d+", "GroupName": r"[ -~]{1,255}", "GroupDescription": r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{1,255}",
    "KeyName": r"[ -~]{1,255}", "MaxResults": r"[5-9]|[1-9]\d{1,2}|1000",
}
SETS = {"DescribeInstances": "reservationSet", "DescribeSecurityGroups": "securityGroupInfo", "DescribeVolumes": "volumeSet", "DescribeVpcs": "vpcSet"}


def check_parameters(params):
    action = params.get("Action")
    if params.get("Version") != "2016-11-15":
        raise Failure("InvalidParameterValue", "Version must be 2016-11-15")
    if action not in ACTIONS:
        raise Failure("InvalidAction", "The action %s is not valid for this web service" % action)
    needed, further, filters, tagged = ACTIONS[action]
    for name in needed:
        if not params.get(name):
            raise Failure("MissingParameter", "The request must contain the parameter " + name)
    for name, value in params.items():
        if name in ("Action", "Version") or name in needed:
            pass
        elif not any(re.fullmatch(pattern, name) for pattern in further):
            raise Failure("UnknownParameter", "The parameter %s is not recognized" % name)
        if name in VALUES and not re.fullmatch(VALUES[name], value):
            raise Failure("InvalidParameterValue", "Invalid value '%s' for %s" % (value, name))
    for item in numbered(params, "Filter"):
        if not re.fullmatch(filters, item.get("Name", "")) or "Value.1" not in item:
            raise Failure("InvalidParameterValue", "The filter '%s' is invalid" % item.get("Name"))
    for spec in numbered(params, "TagSpecification"):
        if spec.get("ResourceType") not in tagged:
            raise Failure("InvalidParameterValue", "'%s' is not a valid taggable resource type" % spec.get("ResourceType"))
        for tag in numbered(spec, "Tag"):
            if not 0 < len(tag.get("Key", "")) <= 127 or tag["Key"].startswith("aws:") or len(tag.get("Value", "")) > 255:
                raise Failure("InvalidParameterValue", "a tag is invalid")


def error_body(code, message):
    return '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>fake</RequestID></Response>' % (
        code, message.replace("&", "&amp;").replace("<", "&lt;"))


def child(element, name):
    return next((c for c in element if c.tag == name), None)


def text_of(element, name):
    found = child(element, name) if element is not None else None
    return (found.text or "") if found is not None else ""


def instances_in(root):
    return [(reservation, item) for reservation in child(root, "reservationSet") for item in child(reservation, "instancesSet")]


def parse(body):
    """Without namespaces: moto's is another version's."""
    root = ElementTree.fromstring(body)
    for element in root.iter():
        element.tag = element.tag.rsplit("}", 1)[-1]
    return root


def dump(root):
    root.set("xmlns", NAMESPACE)
    return ElementTree.tostring(root, encoding="unicode")


class Front:
    """One lock for everything: the order of requests is the order of their effects."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.lock = threading.Lock()
        self.reset()

    def reset(self):
        self.upstream.reset()
        self.rules, self.log, self.tokens, self.hidden, self.pages = [], [], {}, {}, {}
        self.clock_offset, self.page_size, self.hide_looks = 0, 0, 0
        self.user_data, self.kill = {}, Kill()

    def now(self):
        return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.clock_offset)

    # --- a request ------------------------------------------------------------------------------------------
    def handle(self, headers, body, pairs):
        """(status, body), or None where the answer is lost."""
        with self.lock:
            self.kill.now(False)
            try:
                region = verify(headers, body, self.now(), KEYS)
                host = dict((k.lower(), v) for k, v in headers)["host"].split(":")[0]
                if region not in REGIONS or (host.endswith(".localhost") and host != region + ".localhost"):
                    raise Refused("SignatureDoesNotMatch", "Credential should be scoped to a valid region")
                params = dict(pairs)
                if len(params) != len(pairs):
                    raise Failure("InvalidParameter", "a parameter is given twice")
                self.log.append({"region": region, "host": host, **{k: v for k, v in params.items() if k != "UserData"}})
                if "UserData" in params:
                    self.user_data[params.get("ClientToken", "")] = params["UserData"]
                answer = self.obey(region, params)
                self.kill.now(True)
                return answer
            except (Refused, Failure) as refusal:
                return refusal.status, error_body(refusal.code, refusal.message)

    def rule_for(self, region, params):
        return next_fault(self.rules, lambda rule: rule.get("region", region) == region and all(
            params.get(k) == v for k, v in {"Action": rule["action"], **rule.get("match", {})}.items()))

    def obey(self, region, params):
        rule = self.rule_for(region, params)
        kind = rule.get("kind")
        fault = rule.get("status", 400), error_body(rule.get("code", ""), rule.get("message", "asked for by a rule"))
        if kind == "error":
            return fault
        if kind == "drop":
            return None
        check_parameters(params)
        status, body = self.perform(region, params)
        if status == 200:
            if kind == "error_after":
                return fault
            if kind == "drop_after":
                return None
            if kind == "cut":
                return status, body[:len(body) * 2 // 3]
            if kind == "html":
                return status, "<html><body>It works!</body></html>"
            if kind == "rewrite":
                return status, body.replace(rule["from"], rule["to"])
        return status, body

    def perform(self, region, params):
        action = params["Action"]
        if action == "RunInstances" and "ClientToken" in params:
            return self.run_once(region, params)
        if action == "TerminateInstances":
            for id in [v for k, v in params.items() if k.startswith("InstanceId.")]:
                if self.hidden.get(id, 0) > 0:
                    raise Failure("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist" % id)
        if self.page_size and action in SETS and "MaxResults" in params:
            return self.one_page(region, params)
        status, body = self.upstream.call(region, {k: v for k, v in params.items() if k not in ("MaxResults", "NextToken")})
        if action == "DescribeInstances" and status == 200:
            body = self.without_hidden(body)
        return status, body

    def run_once(self, region, params):
        """The idempotency of RunInstances, which moto does not have: one instance a token."""
        token = (region, params["ClientToken"])
        digest = hashlib.sha256(repr(sorted(params.items())).encode()).hexdigest()
        if token in self.tokens:
            before, id = self.tokens[token]
            if before != digest:
                raise Failure("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
            _, body = self.upstream.call(region, {"Action": "DescribeInstances", "Version": "2016-11-15", "InstanceId.1": id}, peek=True)
            _, item = instances_in(parse(body))[0]
            if text_of(child(item, "instanceState"), "name") == "terminated":
                raise Failure("IdempotentInstanceTerminated", "The instance of this client token is terminated")
            root = ElementTree.Element("RunInstancesResponse")
            ElementTree.SubElement(root, "instancesSet").append(item)
            return 200, dump(root)
        status, body = self.upstream.call(region, params)
        if status == 200:
            id = text_of(child(parse(body), "instancesSet")[0], "instanceId")
            self.tokens[token] = (digest, id)
            self.hidden[id] = self.hide_looks
        return status, body

    def without_hidden(self, body):
        """AWS's lists lag: what was made a moment ago is not in them."""
        if not any(self.hidden.values()):
            return body
        root = parse(body)
        for reservation, item in instances_in(root):
            id = text_of(item, "instanceId")
            if self.hidden.get(id, 0) > 0:
                self.hidden[id] -= 1
                child(reservation, "instancesSet").remove(item)
        return dump(root)

    def one_page(self, region, params):
        """Pages of `page_size`, however many the caller would take; a token is good once."""
        token = params.get("NextToken")
        if token:
            if token not in self.pages:
                raise Failure("InvalidNextToken", "The token is invalid")
            root, offset = self.pages.pop(token)
        else:
            status, body = self.upstream.call(region, {k: v for k, v in params.items() if k != "MaxResults"})
            if status != 200:
                return status, body
            root, offset = parse(body), 0
        everything = list(child(root, SETS[params["Action"]]))
        page = ElementTree.Element(root.tag)
        ElementTree.SubElement(page, SETS[params["Action"]]).extend(everything[offset:offset + self.page_size])
        if offset + self.page_size < len(everything):
            next_token = "page/%d+%d==" % (len(self.pages), len(self.log))
            self.pages[next_token] = (root, offset + self.page_size)
            ElementTree.SubElement(page, "nextToken").text = next_token
        return 200, dump(page)

    # --- for tests ------------------------------------------------------------------------------------------
    def inventory(self):
        """Everything in every region, as JSON."""
        out = {"instances": [], "keys": [], "groups": [], "volumes": []}
        for region in self.upstream.touched():
            def listed(action, set_name):
                status, body = self.upstream.call(region, {"Action": action, "Version": "2016-11-15"}, peek=True)
                assert status == 200, body
                return [item for item in child(parse(body), set_name)]

            def tags(item):
                found = child(item, "tagSet")
                return {text_of(tag, "key"): text_of(tag, "value") for tag in (found if found is not None else [])}
            for reservation in listed("DescribeInstances", "reservationSet"):
                for item in child(reservation, "instancesSet"):
                    groups = child(item, "groupSet")
                    out["instances"].append({
                        "region": region, "id": text_of(item, "instanceId"), "state": text_of(child(item, "instanceState"), "name"),
                        "type": text_of(item, "instanceType"), "image": text_of(item, "imageId"), "tags": tags(item),
                        "lifecycle": text_of(item, "instanceLifecycle"), "key": text_of(item, "keyName"), "token": text_of(item, "clientToken"),
                        "tokens": text_of(child(item, "metadataOptions"), "httpTokens"),
                        "groups": sorted(text_of(g, "groupName") for g in (groups if groups is not None else []))})
            for item in listed("DescribeKeyPairs", "keySet"):
                out["keys"].append({"region": region, "id": text_of(item, "keyPairId"), "name": text_of(item, "keyName"), "tags": tags(item)})
            for item in listed("DescribeSecurityGroups", "securityGroupInfo"):
                ingress = child(item, "ipPermissions")
                if text_of(item, "groupName") != "default":
                    out["groups"].append({
                        "region": region, "id": text_of(item, "groupId"), "name": text_of(item, "groupName"), "tags": tags(item),
                        "ports": [text_of(rule, "toPort") for rule in (ingress if ingress is not None else [])]})
            for item in listed("DescribeVolumes", "volumeSet"):
                out["volumes"].append({"region": region, "id": text_of(item, "volumeId"), "state": text_of(item, "status"),
                                       "size": text_of(item, "size"), "tags": tags(item)})
        return out
